// The programs that load a server, and what they saw: { requests, bytes, seconds, p50_us, p99_us, fault }.
//
// `fault` says why a run is no result: an answer that was no success, or a connection that failed.
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { launch, run } from './machine.mjs'

const LUA = fileURLToPath(new URL('wrk.lua', import.meta.url))

const faults = counts => Object.entries(counts).filter(([, count]) => count > 0).map(([name, count]) => `${count} ${name}`).join(', ') || undefined

const wrkArgv = ({ threads, connections, seconds, url, fields = {}, script = ['plain'] }) =>
  ['wrk', `-t${threads}`, `-c${connections}`, `-d${seconds}s`, '--timeout', '10s', '-s', LUA,
    ...Object.entries(fields).flatMap(([name, value]) => ['-H', `${name}: ${value}`]), url, '--', ...script]

export const wrk = async load => wrkFigures(await run(wrkArgv(load), { cores: load.cores }))

export const wrkFigures = out => {
  const line = /^figures (\{.*\})$/m.exec(out)
  if (!line) throw new Error(`wrk told nothing: ${out.trim().slice(-500)}`)
  const { requests, bytes, us, p50_us, p99_us, ...errors } = JSON.parse(line[1])
  return { requests, bytes, seconds: us / 1e6, p50_us, p99_us, fault: requests === 0 ? 'no answer' : faults(errors) }
}

// wrk in the background, until it is interrupted: { stop }, whose promise gives the figures.
export const wrkUntilStopped = (load, log) => {
  const child = launch(wrkArgv({ ...load, seconds: 3600 }), { cores: load.cores, log })
  return {
    stop: async () => {
      child.kill('SIGINT')
      await child.ended
      return wrkFigures(fs.readFileSync(log, 'utf8'))
    }
  }
}

// HTTP/2 without TLS. h2load tells each request's time in a log alone.
export const h2load = async ({ cores, threads, connections, streams, seconds, url, fields = {}, dir }) => {
  const log = path.join(dir, 'h2load.log')
  fs.rmSync(log, { force: true })
  const out = await run(['h2load', `-t${threads}`, `-c${connections}`, `-m${streams}`, '-D', String(seconds), `--log-file=${log}`,
    ...Object.entries(fields).flatMap(([name, value]) => ['-H', `${name}: ${value}`]), url], { cores })
  return h2Figures(out, fs.readFileSync(log, 'latin1'))
}

export const h2Figures = (out, log) => {
  const number = pattern => Number(pattern.exec(out)?.[1] ?? NaN)
  const requests = number(/(\d+) succeeded/)
  const times = log.split('\n').filter(Boolean).map(line => Number(line.split('\t')[2])).sort((a, b) => a - b)
  const part = share => times[Math.min(times.length - 1, Math.floor(times.length * share))]
  const errors = { failed: number(/(\d+) failed/), errored: number(/(\d+) errored/), status: number(/(\d+) 3xx/) + number(/(\d+) 4xx/) + number(/(\d+) 5xx/) }
  return {
    requests, bytes: number(/\((\d+)\) data/), seconds: requests / number(/finished in [^,]*, ([\d.]+) req\/s/),
    p50_us: part(0.5), p99_us: part(0.99), fault: requests > 0 ? faults(errors) : 'no answer'
  }
}

// One command of Redis's own benchmark, on values of so many bytes under so many keys.
export const redisBenchmark = async ({ cores, port, command, connections, bytes, keys, requests }) => {
  const out = await run(['redis-benchmark', '-p', String(port), '-t', command, '-r', String(keys), '-d', String(bytes), '-c', String(connections),
    '-n', String(requests), '--csv'], { cores })
  const line = new RegExp(`^"${command}",(.*)$`, 'mi').exec(out)?.[1]
  if (!line) throw new Error(`redis-benchmark told nothing: ${out.trim().slice(-500)}`)
  // rps, then the mean, the least, p50, p95, p99 and the greatest, in milliseconds
  const [rate, , , p50, , p99] = line.replaceAll('"', '').split(',').map(Number)
  return { rate, p50_us: p50 * 1000, p99_us: p99 * 1000 }
}
