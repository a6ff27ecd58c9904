// The page of docs/performance: what was measured, how, and what came out. Written from the figures alone.
import fs from 'node:fs'
import path from 'node:path'
import { Table } from './figures.mjs'
import { goals } from './goals.mjs'
import { microseconds, panels, svg, thousands } from './plot.mjs'
import { ROWS } from './rows.mjs'
import { SERVERS } from './servers.mjs'
import { missing, rowCells, rowTitle } from './tables.mjs'

const HOW = `## How it is measured

- All servers stand before the same API, a tokio program that answers at once. Each peer runs as its Debian package brings it, with
  the settings under [proxy/benches/peers](../../proxy/benches/peers), each with its reason: everything in memory, connections kept,
  nothing logged. Larder runs with its default settings but for the log level, the memory, and limits on connections and idle time
  as wide as the peers'. If you know a better setting for a peer, tell us.
- On one core: the server, with all its threads and processes, is pinned to one core; [wrk](https://github.com/wg/wrk) with one thread
  and 64 connections, and the API, to another. On two cores: the server with two workers, wrk with two threads and 128 connections,
  and the API share both.
- The servers take turns: each is loaded for some seconds, then the next, for several rounds. A table tells medians, and in brackets
  the least and the greatest round. Ratios hold better than the numbers: the next machine has other numbers.
- CPU time is user and system time of the server's processes, from the kernel's account, by answered request. It says what a request
  costs also where wrk is not able to ask for more; "cores busy" tells how much of its core or cores the server took.
- "bare tokio" parses each request with httparse and writes the very bytes that Larder answers with. It looks nothing up: the floor.
- Before the first round and by each round's counts it is made sure that answers are what the row says: status, length, and for hits
  that not one request reached the API. A round with an error is no result.
- p50 and p99 are wrk's, which adds the requests that it would have sent while it waited for a slow one. Rows that differ are measured
  at different times: compare servers within a row rather than rows.
- HTTP/2 is without TLS, by h2load: 16 connections with 8 requests at once each. Pipelined: 16 requests in one write, on each of 64
  connections. Distinct keys: server by server, for together they don't fit into memory; one key and all keys take turns. Memory by
  object is what the processes and their files (on tmpfs) grew by; the kernel's own for files and sockets is not in it.
- Redis: Larder without memory of its own on the one core, redis-server beside wrk on the other; 10,000 keys at random. For
  comparison Redis's own benchmark reads as many keys of 1 KiB, with as many connections, in Larder's place. Redis has to do with
  Larder's entries more than to read a value: one look-up also says whether what it found was purged.
- "Passed" is an answer with \`no-store\`. "the API itself" is the same program in the place of a cache.
- HAProxy answers 304 with a \`Content-Length\`, which wrk takes for a body to come; in that row it is told to drop the field.`

const COMMAND = `## Do it again

\`\`\`sh
scripts/bench http                                  # all of it; up to two hours
scripts/bench http --only 1k,miss --rounds 3        # some rows; the others stay as they are
scripts/bench http --quick --out /tmp/quick         # does it work here?
\`\`\`

Every figure of every round is in [results.csv](results.csv).`

const markdown = lines => [lines[0], lines[0].map((_, i) => i ? '---:' : '---'), ...lines.slice(1)].map(line => `| ${line.join(' | ')} |`).join('\n')

const machine = table => {
  const facts = Object.fromEntries(table.figures.filter(({ row }) => row === 'machine').map(({ figure, value }) => [figure, value]))
  return `${facts.processor}, ${facts.cores} cores${facts.virtual === 'yes' ? ' of a virtual machine' : ''}, ${facts.memory}, ${facts.system}, ` +
    `Linux ${facts.kernel}; ${facts.rounds} rounds of ${facts.seconds} s; ${Number(facts.keys).toLocaleString('en')} distinct keys. Measured on ${dates(table)}.`
}

const dates = table => [...new Set(table.figures.filter(({ row }) => row !== 'machine').map(({ date }) => date))].sort().join(', ')

const versions = table => {
  const known = new Map(table.figures.filter(({ version }) => version).map(({ server, version }) => [server, version]))
  return Object.entries(SERVERS).filter(([server]) => known.has(server) && server !== 'nginx-pass' && known.get(server) !== 'tokio')
    .map(([server, { title }]) => `${title} ${known.get(server)}`).join(', ')
}

const goalTable = table => markdown([['', 'measured', 'reached'], ...goals(table).map(({ text, value, reached, said }) =>
  [text, value === undefined ? 'not measured' : said, value === undefined ? '?' : reached ? 'yes' : 'no'])])

const measured = (table, cores) => Object.keys(ROWS).filter(row => rowCells(table, row, cores).length > 1)

const rowSection = (table, row, cores) => {
  const left = missing(table, row, cores)
  return `### ${rowTitle(row, cores)}\n\n${markdown(rowCells(table, row, cores))}${left.length ? `\n\nNo result: ${left.join('; ')}.` : ''}`
}

const page = (table, plots) => [
  '# What a request costs, here and in other caches',
  `${machine(table)} ${versions(table)}.`,
  ...plots.map(({ file, title }) => `![${title}](${file})`),
  '## What was meant to be reached', goalTable(table), HOW, COMMAND,
  ...[1, 2].flatMap(cores => measured(table, cores).length === 0 ? []
    : [`## On ${cores === 1 ? 'one core' : 'two cores'}`, ...measured(table, cores).map(row => rowSection(table, row, cores))])
].join('\n\n') + '\n'

// Writes the page and its plots beside the CSV.
export const write = (figures, folder) => {
  const table = new Table(figures)
  const loaded = cores => measured(table, cores).filter(row => row !== 'startup')
  const plots = [
    { file: 'cpu.svg', title: 'CPU time of the server by request', note: 'Server on one core; Larder is 1, shorter is better.', cores: 1, figure: 'cpu_us', unit: microseconds },
    { file: 'requests.svg', title: 'Requests a second', note: 'Server on one core; Larder is 1, longer is better.', cores: 1, figure: 'requests_per_s', unit: thousands },
    { file: 'requests-two-cores.svg', title: 'Requests a second on two cores', note: 'Server, load and API on both; Larder is 1, longer is better.', cores: 2, figure: 'requests_per_s', unit: thousands }
  ].map(plot => ({ ...plot, panels: panels(table, loaded(plot.cores), plot.cores, plot.figure, plot.unit) })).filter(plot => plot.panels.length > 0)
  for (const plot of plots) fs.writeFileSync(path.join(folder, plot.file), svg(plot))
  fs.writeFileSync(path.join(folder, 'README.md'), page(table, plots))
}
