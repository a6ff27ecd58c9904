// What the comparison concludes from figures: `node --test proxy/benches`. What it measures needs the servers: see scripts/bench.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fromCsv, median, merge, summary, Table, toCsv } from './figures.mjs'
import { goals } from './goals.mjs'
import { h2Figures, wrkFigures } from './load.mjs'
import { panels, svg } from './plot.mjs'
import { requestText } from './probe.mjs'
import { ROWS } from './rows.mjs'
import { SERVERS } from './servers.mjs'
import { countSyscalls } from './special.mjs'
import { digits, missing, rowCells } from './tables.mjs'

const figure = (row, server, name, ...values) => values.map((value, i) =>
  ({ date: '2025-01-06', row, cores: 1, server, version: '1', round: String(i + 1), figure: name, value: String(value) }))
const goal = (figures, words) => goals(new Table(figures)).find(({ text }) => text.includes(words))

test('the median of an even number of rounds lies between the middle two', () => {
  assert.equal(median([4, 1, 3, 100]), 3.5)
  assert.equal(median([10, 9, 100]), 10)
  assert.deepEqual(summary([3, 1, 2]), { median: 2, least: 1, greatest: 3, rounds: 3 })
  assert.equal(summary([]), undefined)
})

test('figures survive a CSV, with commas, quotes and line ends in their words', () => {
  const figures = figure('1k', 'larder', 'fault', 'said "no",\nand ended')
  assert.deepEqual(fromCsv(toCsv(figures)), figures)
  assert.throws(() => fromCsv('a,b\n1,2\n'), /not a table of figures/)
})

test('a row measured again replaces all of its older figures and no others', () => {
  const two = { ...figure('1k', 'nginx', 'cpu_us', 7)[0], cores: 2 }
  const older = [...figure('1k', 'nginx', 'cpu_us', 1), ...figure('1m', 'nginx', 'cpu_us', 2), two]
  const newer = figure('1k', 'larder', 'cpu_us', 3)
  assert.deepEqual(merge(older, newer).map(({ value }) => value), ['2', '7', '3'])
})

test('a word among the figures is no number', () => {
  const table = new Table([...figure('keys', 'haproxy', 'bytes_per_object', 'taken at the start'), ...figure('keys', 'haproxy', 'requests_per_s', 5)])
  assert.equal(table.of('keys', 1, 'haproxy', 'bytes_per_object'), undefined)
  assert.equal(rowCells(table, 'keys', 1)[1].at(-1), 'taken at the start')
})

test('a server without a result has no line, and its reason is told', () => {
  const table = new Table([...figure('1k', 'larder', 'requests_per_s', 10), ...figure('1k', 'squid', 'fault', '3 status')])
  assert.deepEqual(rowCells(table, '1k', 1).map(([name]) => name), ['', 'Larder'])
  assert.deepEqual(missing(table, '1k', 1), ['Squid: 3 status'])
  const later = new Table([...table.figures, ...figure('1k', 'squid', 'requests_per_s', 5)])
  assert.deepEqual(missing(later, '1k', 1), ['Squid, a round: 3 status'])
})

test('a goal is reached from its figure on', () => {
  const at = haproxy => [...figure('1k', 'larder', 'cpu_us', 10), ...figure('1k', 'haproxy', 'cpu_us', haproxy)]
  assert.equal(goal(at(15), 'HAProxy').reached, true)
  assert.equal(goal(at(14.9), 'HAProxy').reached, false)
  assert.equal(goal([], 'HAProxy').value, undefined)
})

test("the order by requests is not reached when a cache is ahead of Larder's", () => {
  const figures = (ours, theirs) => [...figure('1k', 'larder', 'cpu_us', 6), ...figure('1k', 'nginx', 'cpu_us', 12),
    ...figure('1k', 'larder', 'requests_per_s', ours), ...figure('1k', 'nginx', 'requests_per_s', theirs)]
  assert.equal(goal(figures(20, 10), 'the order').reached, true)
  assert.equal(goal(figures(10, 20), 'the order').reached, false)
})

test("p99 is compared with the best cache's, not with the floor's", () => {
  const figures = [...figure('1k', 'larder', 'p99_us', 50), ...figure('1k', 'bare', 'p99_us', 10), ...figure('1k', 'nginx', 'p99_us', 50), ...figure('1k', 'squid', 'p99_us', 90)]
  assert.equal(goal(figures, 'p99').reached, true)
})

test('memory for an object is measured against the bytes that the API sent', () => {
  const figures = bytes => [...figure('keys', 'larder', 'bytes_per_object', bytes), ...figure('keys', 'larder', 'answer_bytes', 1230)]
  assert.equal(goal(figures(1799), 'memory').reached, true)
  assert.equal(goal(figures(1800), 'memory').reached, false)
})

test('what wrk calls an error is a fault, and so is no answer at all', () => {
  const line = more => `figures ${JSON.stringify({ requests: 10, bytes: 100, us: 2e6, p50_us: 1, p99_us: 2, connect: 0, read: 0, write: 0, status: 0, timeout: 0, ...more })}\n`
  assert.equal(wrkFigures(line({})).fault, undefined)
  assert.equal(wrkFigures(line({})).seconds, 2)
  assert.equal(wrkFigures(line({ status: 3, read: 1 })).fault, '1 read, 3 status')
  assert.equal(wrkFigures(line({ requests: 0 })).fault, 'no answer')
  assert.throws(() => wrkFigures('unable to connect'), /wrk told nothing/)
})

test("h2load's report and log give requests, their times and what went wrong", () => {
  const report = status => `finished in 2.00s, 50.00 req/s, 1.00KB/s
requests: 100 total, 100 started, 100 done, 100 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 100 2xx, 0 3xx, 0 4xx, ${status} 5xx
traffic: 120.00KB (122880) total, 1.00KB (1024) headers (space savings 90.00%), 100.00KB (102400) data`
  const log = Array.from({ length: 100 }, (_, i) => `1\t200\t${100 - i}`).join('\n')
  assert.deepEqual(h2Figures(report(0), log), { requests: 100, bytes: 102400, seconds: 2, p50_us: 51, p99_us: 100, fault: undefined })
  assert.equal(h2Figures(report(1), log).fault, '1 status')
})

test("strace's summary is counted by request, its total line left out", () => {
  const text = `% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.500000           5      1000           sendto
 39.00    0.400000           4      1000        12 recvfrom
  1.00    0.000100           1        10           epoll_wait
------ ----------- ----------- --------- --------- ----------------
100.00    0.900100           4      2010        12 total
`
  assert.deepEqual(countSyscalls(text, 1000), { syscalls: 2.01, syscalls_by_name: 'sendto 1.00 + recvfrom 1.00' })
})

test('a probe sends what wrk sends', () => {
  assert.equal(requestText({ port: 80, path: '/a', fields: { 'Accept-Encoding': 'gzip' } }), 'GET /a HTTP/1.1\r\nHost: 127.0.0.1:80\r\nAccept-Encoding: gzip\r\n\r\n')
})

test('numbers keep the digits that say something', () => {
  assert.deepEqual([1234.5, 12.34, 1.234, 0.05, NaN, undefined].map(digits), ['1235', '12.3', '1.23', '0.05', '-', '-'])
})

test('a plot has a bar for each server, as long as its ratio to Larder says', () => {
  const table = new Table([...figure('1k', 'larder', 'cpu_us', 5), ...figure('1k', 'nginx', 'cpu_us', 10), ...figure('1m', 'nginx', 'cpu_us', 10)])
  const drawn = panels(table, ['1k', '1m'], 1, 'cpu_us', String)
  assert.deepEqual(drawn.map(({ bars }) => bars.map(({ ratio }) => ratio)), [[1, 2]])
  assert.equal(svg({ title: 'T', note: 'N', panels: drawn }).match(/<rect [^>]*class="(ours|peer)"/g).length, 2)
})

test('every row names servers that there are', () => {
  for (const { servers } of Object.values(ROWS)) for (const name of servers) assert.ok(SERVERS[name], name)
})
