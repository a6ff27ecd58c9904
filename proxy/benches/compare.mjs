// Compares Larder with other caches: starts them in turn before one origin, loads them, and reports. See scripts/bench.
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { fromCsv, merge, Table, toCsv } from './figures.mjs'
import { goalLines } from './goals.mjs'
import { facts, makeScratch, stopAll, today } from './machine.mjs'
import { write } from './page.mjs'
import { rowTable } from './tables.mjs'
import { measureRow } from './round.mjs'
import { ROWS } from './rows.mjs'
import { find, SERVERS } from './servers.mjs'

const usage = message => { console.error(`bench: ${message} (see scripts/bench --help)`); process.exit(64) }

const parsed = () => {
  const options = {
    bin: { type: 'string' }, // where larder-proxy and the examples were built
    out: { type: 'string' },
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '5' },
    keys: { type: 'string', default: '1000000' },
    only: { type: 'string' },
    servers: { type: 'string' },
    cores: { type: 'string' }, // both, or one alone when it must be quick
    scratch: { type: 'string', default: '/dev/shm' },
    quick: { type: 'boolean', default: false },
    report: { type: 'boolean', default: false }
  }
  try {
    return parseArgs({ options }).values
  } catch (error) {
    return usage(error.message)
  }
}

const options = parsed()

const listed = (text, known, what) => {
  const names = text ? text.split(',') : Object.keys(known)
  for (const name of names) if (!known[name]) usage(`${name} is no ${what}; there are ${Object.keys(known).join(', ')}`)
  return names
}

const whole = name => {
  const number = Number(options[name])
  if (!Number.isInteger(number) || number < 1) usage(`--${name} takes a whole number from 1 on`)
  return number
}

const cores = quick => (options.cores ?? (quick ? '1' : '1,2')).split(',').map(text => {
  if (text !== '1' && text !== '2') usage('--cores takes 1, 2 or 1,2')
  return Number(text)
})

// Where each server's program is; those without one are left out, and it is said.
const programs = () => {
  const ours = { larder: 'larder-proxy', bare: 'examples/bench_bare', direct: 'examples/bench_origin' }
  const found = {}
  for (const [name, server] of Object.entries(SERVERS)) {
    const program = ours[name] ? path.join(options.bin, ours[name]) : find(server.program)
    if (program) found[name] = program
    else console.log(`${server.title} is not installed: left out.`)
  }
  return found
}

// The server's cores and those of what loads it: apart where one is enough for it, else the same.
const places = cores => cores === 1 ? { serverCores: '0', loadCores: '1' } : { serverCores: '0,1', loadCores: '0,1' }

const csvPath = () => path.join(options.out, 'results.csv')
const read = () => {
  if (!fs.existsSync(csvPath())) return []
  try {
    return fromCsv(fs.readFileSync(csvPath(), 'utf8'))
  } catch (error) {
    return usage(`${csvPath()} is ${error.message}: write elsewhere with --out, or remove it`)
  }
}

// What was measured before, with which the new rows stand: on the same machine and as long, or the table would mix what can't be compared.
const earlier = machine => {
  const old = read()
  const is = new Map(machine.map(({ figure, value }) => [figure, value]))
  const other = old.find(({ row, figure, value }) => row === 'machine' && is.get(figure) !== value)
  if (other) usage(`${csvPath()} was measured otherwise (${other.figure}: ${other.value}, now ${is.get(other.figure)}): write elsewhere with --out, or remove it`)
  return old
}

const save = figures => {
  fs.mkdirSync(options.out, { recursive: true })
  fs.writeFileSync(csvPath(), toCsv(figures))
}

const measure = async scratch => {
  const quick = options.quick
  const bench = {
    scratch, programs: programs(), rounds: quick ? 1 : whole('rounds'), seconds: quick ? 1 : whole('seconds'),
    keys: quick ? 5000 : whole('keys'), idle: quick ? 500 : 10_000, asked: listed(options.servers, SERVERS, 'server')
  }
  bench.versions = Object.fromEntries(Object.entries(bench.programs).map(([name, program]) => [name, SERVERS[name].version(program) ?? '?']))
  const rows = listed(options.only, ROWS, 'row')
  const machine = Object.entries({ ...facts(), rounds: bench.rounds, seconds: bench.seconds, keys: bench.keys })
    .map(([figure, value]) => ({ date: today(), row: 'machine', cores: 0, figure, value: String(value) }))
  let figures = merge(earlier(machine), machine)
  for (const count of cores(quick)) {
    for (const name of rows.filter(name => count === 1 || ROWS[name].two)) {
      const measured = await measureRow(name, { ...bench, cores: count, ...places(count) })
      if (measured.length === 0) continue // none of the servers asked for is in this row
      figures = merge(figures, measured)
      save(figures)
      console.log(rowTable(new Table(measured), name, count))
    }
  }
}

const main = async () => {
  if (os.availableParallelism() < 2) usage('two cores are needed')
  const scratch = makeScratch(options.scratch)
  const clean = async () => { await stopAll(); fs.rmSync(scratch, { recursive: true, force: true }) }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => clean().then(() => process.exit(130)))
  try { await measure(scratch) } finally { await clean() }
}

if (!options.bin || !options.out) usage('--bin and --out are needed')
if (!options.report) await main()
const figures = read()
if (figures.length === 0) usage(`there are no figures in ${csvPath()}`)
write(figures, options.out)
console.log(`\nWhat was meant to be reached\n${goalLines(new Table(figures)).join('\n')}\n\nFigures, plots and tables are in ${options.out}.`)
process.exit(0)
