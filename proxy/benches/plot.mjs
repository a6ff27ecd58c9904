// Bars beside each other: one panel for each row, one bar for each server, as SVG that reads on light and on dark pages.
import { ROWS } from './rows.mjs'
import { SERVERS } from './servers.mjs'
import { digits } from './tables.mjs'

const PANEL = { width: 330, gap: 24, columns: 3, head: 26, bar: 13, step: 19, foot: 14, label: 96, value: 86 }
const MARGIN = { top: 66, side: 20 }

const STYLE = `
  text { font: 12px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328 }
  .title { font-size: 17px; font-weight: 600 } .note { fill: #57606a } .row { font-weight: 600 }
  .page { fill: #ffffff } .ours { fill: #c2410c } .floor { fill: #a8b1bb } .peer { fill: #5b7a9d } .one { stroke: #8c959f; stroke-dasharray: 2 3 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .note { fill: #9ea7b3 } .page { fill: #0d1117 } .ours { fill: #f97316 } .floor { fill: #57606a } .peer { fill: #6c93bf } .one { stroke: #6e7681 }
  }`

const KINDS = { larder: 'ours', bare: 'floor', direct: 'floor', 'redis-benchmark': 'floor' }
const text = (x, y, words, kind = '', anchor = 'start') => `<text x="${x}" y="${y}" class="${kind}" text-anchor="${anchor}">${words}</text>`

// { title, note, panels: [{ title, bars: [{ server, ratio, said }] }] } as an SVG.
export const svg = ({ title, note, panels }) => {
  const lines = []
  for (let i = 0; i < panels.length; i += PANEL.columns) lines.push(panels.slice(i, i + PANEL.columns))
  const width = 2 * MARGIN.side + PANEL.columns * PANEL.width + (PANEL.columns - 1) * PANEL.gap
  let y = MARGIN.top
  const drawn = lines.map(line => {
    const at = y
    y += PANEL.head + PANEL.step * Math.max(...line.map(({ bars }) => bars.length)) + PANEL.foot
    return line.map((panel, column) => draw(panel, MARGIN.side + column * (PANEL.width + PANEL.gap), at)).join('\n')
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${y}" role="img" aria-label="${title}">
<style>${STYLE}
</style>
<rect class="page" width="${width}" height="${y}"/>
${text(MARGIN.side, 30, title, 'title')}
${text(MARGIN.side, 50, note, 'note')}
${drawn.join('\n')}
</svg>
`
}

const draw = ({ title, bars }, x, y) => {
  const room = PANEL.width - PANEL.label - PANEL.value
  const scale = room / Math.max(...bars.map(({ ratio }) => ratio))
  const left = x + PANEL.label, top = y + PANEL.head
  const one = left + scale
  return [
    text(x, y + 14, title, 'row'),
    `<line class="one" x1="${one.toFixed(1)}" x2="${one.toFixed(1)}" y1="${top - 3}" y2="${top + bars.length * PANEL.step - 3}"/>`,
    ...bars.map(({ server, ratio, said }, i) => {
      const at = top + i * PANEL.step, middle = at + PANEL.bar - 2
      return text(left - 8, middle, SERVERS[server].title, '', 'end') +
        `<rect x="${left}" y="${at}" width="${Math.max(1, ratio * scale).toFixed(1)}" height="${PANEL.bar}" rx="2" class="${KINDS[server] ?? 'peer'}"/>` +
        text((left + ratio * scale + 6).toFixed(1), middle, said)
    })
  ].join('\n')
}

// The panels of one figure, relative to Larder's.
export const panels = (table, rows, cores, figure, unit) => rows.map(row => {
  const ours = table.median(row, cores, 'larder', figure)
  const bars = table.servers(row, cores).map(server => ({ server, value: table.median(row, cores, server, figure) }))
    .filter(({ value }) => value !== undefined && ours !== undefined)
    .map(({ server, value }) => ({ server, ratio: value / ours, said: `${(value / ours).toFixed(2)}x, ${unit(value)}` }))
  return { title: ROWS[row].title, bars }
}).filter(({ bars }) => bars.length > 1)

export const microseconds = value => `${digits(value)} us`
export const thousands = value => value >= 10_000 ? `${(value / 1000).toFixed(0)}k/s` : `${(value / 1000).toFixed(1)}k/s`
