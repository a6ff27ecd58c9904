// What do several rounds say together? Medians, spread, and the table of figures that everything is reported from.
//
// A figure is one number, or one word, of one round of one server in one row: { date, row, cores, server, version, round, figure, value }.
// Pure; how figures come about, and what is drawn from them, is elsewhere.

export const median = values => {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  if (sorted.length === 0) return NaN
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

// Median, least and greatest of some rounds; nothing when there were none.
export const summary = values => values.length === 0 ? undefined
  : { median: median(values), least: Math.min(...values), greatest: Math.max(...values), rounds: values.length }

export const COLUMNS = ['date', 'row', 'cores', 'server', 'version', 'round', 'figure', 'value']

const quoted = value => /[",\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value

export const toCsv = figures =>
  [COLUMNS, ...figures.map(figure => COLUMNS.map(column => String(figure[column] ?? '')))]
    .map(cells => cells.map(quoted).join(',')).join('\n') + '\n'

// The cells of one CSV text, line by line.
const cells = text => {
  const lines = []
  let line = [], cell = '', inside = false
  for (let i = 0; i < text.length; i++) {
    const c = text[i]
    if (inside && c === '"' && text[i + 1] === '"') { cell += '"'; i++ }
    else if (c === '"') inside = !inside
    else if (c === ',' && !inside) { line.push(cell); cell = '' }
    else if (c === '\n' && !inside) { lines.push([...line, cell]); line = []; cell = '' }
    else cell += c
  }
  return lines
}

export const fromCsv = text => {
  const [head, ...lines] = cells(text)
  if (String(head) !== String(COLUMNS)) throw new Error(`not a table of figures: ${head}`)
  return lines.map(line => Object.fromEntries(COLUMNS.map((column, i) => [column, column === 'cores' ? Number(line[i]) : line[i]])))
}

// Older figures with newer ones: a row that was measured again, on as many cores, is replaced whole, for its servers took turns.
export const merge = (older, newer) => {
  const again = new Set(newer.map(({ row, cores }) => `${row} ${cores}`))
  return [...older.filter(({ row, cores }) => !again.has(`${row} ${cores}`)), ...newer]
}

// Reads summaries out of figures: table.of(row, cores, server, figure), undefined where there is no result.
export class Table {
  constructor (figures) {
    this.values = new Map()
    this.words = new Map()
    for (const { row, cores, server, figure, value } of figures) {
      const key = [row, cores, server, figure].join('\t')
      if (Number.isNaN(Number(value)) || value === '') this.words.set(key, value)
      else this.values.set(key, [...this.values.get(key) ?? [], Number(value)])
    }
    this.figures = figures
  }

  of (row, cores, server, figure) { return summary(this.values.get([row, cores, server, figure].join('\t')) ?? []) }

  median (row, cores, server, figure) { return this.of(row, cores, server, figure)?.median }

  word (row, cores, server, figure) { return this.words.get([row, cores, server, figure].join('\t')) }

  servers (row, cores) {
    return [...new Set(this.figures.filter(figure => figure.row === row && figure.cores === cores).map(figure => figure.server))]
  }
}
