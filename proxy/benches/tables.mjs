// Figures as tables of text: one row of the comparison, a line for each server.
import { ROWS } from './rows.mjs'
import { SERVERS } from './servers.mjs'

// A number with as many digits as say something.
export const digits = number => number === undefined || Number.isNaN(number) ? '-'
  : number >= 100 ? number.toFixed(0) : number >= 10 ? number.toFixed(1) : number.toFixed(2)

const spread = summary => !summary || summary.rounds < 2 ? '' : ` (${digits(summary.least)}-${digits(summary.greatest)})`

// What one server reached in one row, as words: with the spread over the rounds, and the ratio to Larder's.
const COLUMNS = [
  ['', (_, server) => SERVERS[server].title],
  ['CPU us/request', of => digits(of('cpu_us')?.median) + spread(of('cpu_us'))],
  ['x Larder', (of, _, ours) => digits(of('cpu_us')?.median / ours('cpu_us')?.median)],
  ['requests/s', of => digits(of('requests_per_s')?.median) + spread(of('requests_per_s'))],
  ['x Larder', (of, _, ours) => digits(of('requests_per_s')?.median / ours('requests_per_s')?.median)],
  ['p50 us', of => digits(of('p50_us')?.median)],
  ['p99 us', of => digits(of('p99_us')?.median)],
  ['core busy', of => of('busy') ? `${Math.round(of('busy').median * 100)} %` : '-']
]

// The cells of a row's table, its head first.
export const rowCells = (table, row, cores) => [
  COLUMNS.map(([head]) => head),
  ...table.servers(row, cores).filter(server => table.of(row, cores, server, 'requests_per_s')).map(server =>
    COLUMNS.map(([, cell]) => cell(
      figure => table.of(row, cores, server, figure), server, figure => table.of(row, cores, 'larder', figure))))
]

// Columns of equal width, the first flush left.
export const aligned = lines => {
  const widths = lines[0].map((_, column) => Math.max(...lines.map(line => line[column].length)))
  return lines.map(line => line.map((cell, column) => column ? cell.padStart(widths[column]) : cell.padEnd(widths[column])).join('  ')).join('\n')
}

export const rowTable = (table, row, cores) => `${ROWS[row].title}, ${cores === 1 ? 'one core' : 'two cores'}\n${aligned(rowCells(table, row, cores))}`
