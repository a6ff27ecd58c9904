// Figures as tables of words: for each row of the comparison a line for each server. The terminal and the page show the same.
import { LEFT_OUT, ROWS } from './rows.mjs'
import { SERVERS } from './servers.mjs'

// A number with as many digits as say something.
export const digits = number => number === undefined || Number.isNaN(number) ? '-'
  : Math.abs(number) >= 100 ? number.toFixed(0) : Math.abs(number) >= 10 ? number.toFixed(1) : number.toFixed(2)

const spread = summary => !summary || summary.rounds < 2 ? '' : ` (${digits(summary.least)}-${digits(summary.greatest)})`

// A column's head, and its cell from `of` (this server's figures), `ours` (Larder's).
const plain = (head, figure) => [head, of => digits(of(figure)?.median)]
const spreaded = (head, figure) => [head, of => digits(of(figure)?.median) + spread(of(figure))]
const against = (figure, head = 'x Larder') => [head, (of, ours) => digits(of(figure)?.median / ours(figure)?.median)]

const LOADED = [
  spreaded('CPU us/request', 'cpu_us'), against('cpu_us'), spreaded('requests/s', 'requests_per_s'), against('requests_per_s'),
  plain('p50 us', 'p50_us'), plain('p99 us', 'p99_us'),
  ['cores busy', of => of('busy') ? of('busy').median.toFixed(2) : '-']
]

// What a row tells besides, or instead.
const BESIDES = {
  '1k': [['syscalls/request', (of, _, word) => of('syscalls') ? `${digits(of('syscalls').median)}: ${word('syscalls_by_name')}` : '-']],
  keys: [
    spreaded('CPU us, one key', 'one_cpu_us'), ['one key / all', of => digits(of('one_cpu_us')?.median / of('cpu_us')?.median)],
    plain('CPU us/fill', 'fill_cpu_us'), ['bytes/object', (of, _, word) => word('bytes_per_object') ?? digits(of('bytes_per_object')?.median)]
  ],
  idle: [plain('bytes/idle connection', 'bytes_per_idle')],
  redis: [plain('found in Redis/request', 'redis_hits_per_request')]
}
const INSTEAD = {
  startup: [spreaded('ms to the first answer', 'start_ms'), against('start_ms'), ['MiB then', of => digits(of('memory_bytes')?.median / 2 ** 20)]]
}

const FIGURES = ['requests_per_s', 'start_ms']
const hasResult = (table, row, cores, server) => FIGURES.some(figure => table.of(row, cores, server, figure))

// The cells of a row's table, its head first; columns that say nothing are left out.
export const rowCells = (table, row, cores) => {
  const columns = INSTEAD[row] ?? [...LOADED, ...BESIDES[row] ?? []]
  const servers = table.servers(row, cores).filter(server => hasResult(table, row, cores, server))
  const lines = servers.map(server => columns.map(([, cell]) => cell(
    figure => table.of(row, cores, server, figure), figure => table.of(row, cores, 'larder', figure),
    figure => table.word(row, cores, server, figure))))
  const shown = columns.map((_, column) => lines.some(line => line[column] !== '-'))
  const keep = (_, column) => shown[column]
  return [
    ['', ...columns.map(([head]) => head).filter(keep)],
    ...lines.map((line, i) => [SERVERS[servers[i]].title, ...line.filter(keep)])
  ]
}

// Who has no result in a row, or in a round of it, and why.
export const missing = (table, row, cores) => {
  const faulty = table.servers(row, cores).map(server => [server, table.word(row, cores, server, 'fault')]).filter(([, why]) => why)
  return [...Object.entries(LEFT_OUT[row] ?? {}), ...faulty].map(([server, why]) =>
    `${SERVERS[server].title}${hasResult(table, row, cores, server) ? ', a round' : ''}: ${why.split('\n')[0]}`)
}

export const rowTitle = (row, cores) => `${ROWS[row].title}, ${cores === 1 ? 'one core' : 'two cores'}`

// Columns of equal width, the first flush left.
const aligned = lines => {
  const widths = lines[0].map((_, column) => Math.max(...lines.map(line => line[column].length)))
  return lines.map(line => line.map((cell, column) => column ? cell.padStart(widths[column]) : cell.padEnd(widths[column])).join('  ')).join('\n')
}

export const rowTable = (table, row, cores) => [
  rowTitle(row, cores), aligned(rowCells(table, row, cores)), ...missing(table, row, cores).map(line => `  no result: ${line}`)
].join('\n')
