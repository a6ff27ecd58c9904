// The rows that need more than a load on servers in turns: distinct keys, Redis, idle connections, starting, syscalls.
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { redisBenchmark, wrk, wrkUntilStopped } from './load.mjs'
import { cpuUs, filesBytes, freePort, launch, memoryBytes, run, sleep, stop, tree, until } from './machine.mjs'
import { originCount, probe } from './probe.mjs'
import { WRK_CONNECTIONS } from './rows.mjs'
import { Contender, NoResult } from './turn.mjs'

// What any of the servers may need for an answer of 1 KiB: nginx a page for the file, Squid two pages and more.
const STORE_BYTES_PER_KEY = 10 * 1024
const FILL_S_MAX = 900
const HOLD_S_MAX = 120
// Memory is looked at when what goes on after a load has come to its end.
const SETTLE_MS = 1500
const STRACE_S = 2
const REDIS_KEYS = 10_000
const MISSED = 0.001
// Who takes less than an object's body for an object had taken the memory before.
const OBJECT_BYTES_MIN = 1024

// One server after the other, for all together would not fit into memory; one key and all of them in turns.
export const keys = async ({ row, servers, bench, tell, lose }) => {
  const script = count => ['keys', String(count), 'any']
  for (const name of servers) {
    const contender = new Contender(name, row, bench)
    try {
      await contender.start({ keys: bench.keys, storeMib: Math.max(512, Math.ceil(bench.keys * STORE_BYTES_PER_KEY / 2 ** 20)) })
      await contender.fill()
      const fromOrigin = await probe({ ...contender.request(), port: bench.originPort })
      await contender.load(1, { script: script(1) })
      tell(name, 0, { answer_bytes: fromOrigin.bytes.length, ...await fillKeys(contender, bench.keys) })
      for (let round = 1; round <= bench.rounds; round++) {
        const one = await contender.measure(bench.seconds, { script: script(1) })
        tell(name, round, { one_cpu_us: one.cpu_us, one_requests_per_s: one.requests_per_s })
        tell(name, round, await contender.measure(bench.seconds, { script: script(bench.keys) }))
      }
    } catch (error) { lose(name, 0, error) } finally { await contender.stop() }
  }
}

// Asks for each key; what that took, and the memory that it left taken. What a store let go meanwhile is asked for again, once.
const fillKeys = async (contender, count) => {
  const { bench, row } = contender
  const held = async () => { await sleep(SETTLE_MS); return memoryBytes(contender.child.pid) + filesBytes(bench.scratch) }
  const asked = () => originCount(bench.originPort)
  const before = await held(), cpu = cpuUs(contender.child.pid), countBefore = await asked()
  const began = performance.now()
  const took = { us: 0, seconds: 0 }
  await askInOrder(contender, count, async () => {
    if (await asked() - countBefore < count - 1) return false
    took.us = cpuUs(contender.child.pid) - cpu
    took.seconds = (performance.now() - began) / 1000
    return true
  })
  const settled = await asked()
  const { requests } = await contender.load(1, { script: ['keys', String(count), 'any'] })
  if (await asked() - settled > requests * row.missed) {
    const again = performance.now()
    await askInOrder(contender, count, () => performance.now() - again > took.seconds * 1000)
  }
  const each = (await held() - before) / count
  return {
    fill_cpu_us: took.us / count, fills_per_s: count / took.seconds,
    bytes_per_object: each < OBJECT_BYTES_MIN ? 'taken at the start' : each
  }
}

// Asks for one key after the other until `done` says so.
const askInOrder = async (contender, count, done) => {
  const { bench } = contender
  const log = path.join(bench.scratch, 'fill.log')
  fs.rmSync(log, { force: true })
  const load = wrkUntilStopped({
    cores: bench.loadCores, threads: 1, connections: WRK_CONNECTIONS, url: `http://127.0.0.1:${contender.port}/`, script: ['keys', String(count), 'all']
  }, log)
  const filled = await until(FILL_S_MAX, done, 50)
  const { fault } = await load.stop()
  if (!filled || fault) throw new NoResult(`was not filled: ${fault ?? `it took longer than ${FILL_S_MAX} s`}`)
}

// Larder without memory of its own before Redis, and Redis's own benchmark in its place, on its core.
export const redis = async ({ row, servers, bench, tell, lose }) => {
  const port = await freePort()
  const server = launch(['redis-server', '--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no',
    '--maxmemory-policy', 'volatile-lru', '--dir', bench.scratch], { cores: bench.loadCores, log: path.join(bench.scratch, 'redis.log') })
  const stats = () => run(['redis-cli', '-p', String(port), 'info', 'stats'])
  const missed = async () => Number(/keyspace_misses:(\d+)/.exec(await stats())[1])
  const hits = async () => Number(/keyspace_hits:(\d+)/.exec(await stats())[1])
  const larder = servers.includes('larder') ? new Contender('larder', row, bench) : undefined
  const script = ['keys', String(REDIS_KEYS), 'any']
  const turns = {
    larder: async () => {
      const before = await hits()
      const seen = await larder.measure(bench.seconds, { script })
      const found = (await hits() - before) / seen.requests
      if (found < 1 - MISSED) throw new NoResult(`only ${found} of its answers came from Redis`)
      return { ...seen, redis_hits_per_request: found }
    },
    'redis-benchmark': () => benchmarkRedis(port, bench, missed)
  }
  const ready = new Set(servers)
  try {
    if (!await until(10, () => missed().then(() => true, () => false))) throw new Error('redis-server did not start')
    if (larder) {
      try {
        await larder.start({ memory: '1KiB', redisPort: port })
        await larder.fill()
        await fillKeys(larder, REDIS_KEYS)
        await larder.load(1, { script })
      } catch (error) { ready.delete('larder'); lose('larder', 0, error) }
    }
    for (let round = 1; round <= bench.rounds; round++) {
      for (const name of ready) {
        try { tell(name, round, await turns[name]()) } catch (error) { lose(name, round, error) }
      }
    }
  } finally {
    if (larder) await larder.stop()
    await stop(server)
  }
}

const benchmarkRedis = async (port, bench, missed) => {
  const common = { cores: bench.serverCores, port, connections: WRK_CONNECTIONS, bytes: 1024, keys: REDIS_KEYS }
  await redisBenchmark({ ...common, command: 'set', requests: 20 * REDIS_KEYS })
  const before = await missed(), requests = 60_000 * bench.seconds
  const { rate, p50_us, p99_us } = await redisBenchmark({ ...common, command: 'get', requests })
  // Larder, too, asks for something now and then.
  const lost = await missed() - before
  if (lost > requests * MISSED) throw new NoResult(`${lost} of ${requests} values were not there`)
  return { requests_per_s: rate, p50_us, p99_us }
}

// From the start of the program to its first answer, which it has to ask the API for.
export const startup = async ({ row, servers, bench, tell, lose }) => {
  const answer = path.join(bench.scratch, 'answer')
  for (let round = 1; round <= bench.rounds; round++) {
    for (const name of servers) {
      const contender = new Contender(name, row, bench)
      try {
        fs.writeFileSync(answer, (await probe({ port: bench.originPort, path: row.path })).bytes)
        await contender.start({ answer })
        contender.check(await contender.ask())
        tell(name, round, { start_ms: contender.startMs, memory_bytes: memoryBytes(contender.child.pid) })
      } catch (error) { lose(name, round, error) } finally { await contender.stop() }
    }
  }
}

// Opens idle connections, and tells what each takes of the server's memory. `contender.holder` lives as long as all are open.
export const hold = async contender => {
  const { bench, row } = contender
  const log = path.join(bench.scratch, `${contender.name}.hold`)
  await sleep(SETTLE_MS)
  const before = memoryBytes(contender.child.pid)
  contender.holder = launch([process.execPath, fileURLToPath(new URL('hold.mjs', import.meta.url)), String(contender.port), String(bench.idle), row.path],
    { cores: bench.loadCores, log })
  const said = () => fs.readFileSync(log, 'utf8').trim()
  const open = await until(HOLD_S_MAX, () => said() !== '', 50)
  if (!open || said() !== 'open') throw new NoResult(`${bench.idle} idle connections could not be opened: ${said()}`)
  await sleep(SETTLE_MS)
  return { bytes_per_idle: (memoryBytes(contender.child.pid) - before) / bench.idle }
}

// How often the server asks something of the kernel for one request, in a run of its own: being watched makes it slow.
export const syscalls = async contender => {
  const { bench } = contender
  const log = path.join(bench.scratch, 'strace.log')
  const watched = tree(contender.child.pid).flatMap(pid => ['-p', String(pid)])
  fs.rmSync(log, { force: true })
  const strace = launch(['strace', '-f', '-c', '-qq', '-o', log, ...watched], { cores: bench.loadCores })
  await sleep(500)
  const { requests, fault } = await contender.load(STRACE_S)
  strace.kill('SIGINT')
  await strace.ended
  if (fault) throw new NoResult(`while watched: ${fault}`)
  if (!fs.existsSync(log) || fs.statSync(log).size === 0) throw new NoResult('strace may not watch it')
  return countSyscalls(fs.readFileSync(log, 'utf8'), requests)
}

export const countSyscalls = (text, requests) => {
  const counts = [...text.matchAll(/^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?([a-z]\w*)$/gm)]
    .map(([, count, name]) => ({ name, each: Number(count) / requests })).filter(({ name }) => name !== 'total')
  const often = counts.filter(({ each }) => each >= 0.05).map(({ name, each }) => `${name} ${each.toFixed(2)}`)
  return { syscalls: counts.reduce((sum, { each }) => sum + each, 0), syscalls_by_name: often.join(' + ') }
}
