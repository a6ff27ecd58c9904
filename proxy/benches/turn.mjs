// One server in one row: start it, fill it, make sure that its answers are what the row says, load it, and tell what it took.
import fs from 'node:fs'
import path from 'node:path'
import { h2load, wrk } from './load.mjs'
import { cpuUs, freePort, launch, stop, until } from './machine.mjs'
import { originCount, probe, probeH2 } from './probe.mjs'
import { H2, WRK_CONNECTIONS } from './rows.mjs'
import { SERVERS } from './servers.mjs'

const READY_S = 30
const WARM_S = 10
// The answers' mean size may differ so much from that of the one looked at, and by this much if that is more: digits of an Age.
const BYTES_TOLERANCE = 0.02
const DIGITS_BYTES = 16

// What doesn't hold a row's promise, or doesn't start. It is told, and the server has no result there.
export class NoResult extends Error {}

export class Contender {
  constructor (name, row, bench) {
    Object.assign(this, { name, row, bench, server: SERVERS[name], title: SERVERS[name].title })
  }

  // On the cores that the row gives, with room for `keys` objects in `storeMib`.
  async start ({ keys = 1, storeMib = 512, ...more } = {}) {
    const { bench } = this
    this.dir = fs.mkdtempSync(path.join(bench.scratch, `${this.name}-`))
    fs.chmodSync(this.dir, 0o777) // some servers take another user's rights
    this.port = await freePort()
    const needs = {
      dir: this.dir, port: this.port, h2Port: await freePort(), originPort: bench.originPort, threads: bench.cores,
      keys, storeMib, status: this.row.status, length: this.row.length, program: bench.programs[this.name], ...more
    }
    this.h2Port = this.server.h2Port?.(needs)
    this.log = path.join(bench.scratch, `${path.basename(this.dir)}.log`)
    const argv = this.server.argv(needs)
    this.began = performance.now()
    this.child = launch(argv, { cores: bench.serverCores, log: this.log, user: this.server.user })
    const ready = await until(READY_S, () => this.child.exitCode === null && this.ask().then(({ status }) => status < 500, () => false), 1)
    this.startMs = performance.now() - this.began
    if (!ready) throw new NoResult(`did not start: ${fs.readFileSync(this.log, 'utf8').trim().slice(-400)}`)
  }

  async stop () {
    if (this.holder) await stop(this.holder)
    if (this.child) await stop(this.child)
    if (this.dir) fs.rmSync(this.dir, { recursive: true, force: true })
  }

  request (fields = this.row.fields) { return { port: this.port, path: this.row.path, fields } }

  ask (fields) { return probe(this.request(fields)) }

  // Asks until what the row wants is stored, then looks at an answer as the load will get it.
  async fill () {
    for (const fields of [...this.row.warm ?? [], this.row.fields]) await this.fillOne(fields)
    this.sample = await this.ask()
    this.check(this.sample)
    if (this.row.load === 'h2') this.check(await probeH2({ ...this.request(), port: this.h2Port }))
  }

  async fillOne (fields) {
    await this.ask(fields)
    if (!this.row.hit || this.name === 'bare') return
    const stored = await until(WARM_S, async () => {
      const before = await originCount(this.bench.originPort)
      await this.ask(fields)
      return await originCount(this.bench.originPort) === before
    })
    if (!stored) throw new NoResult('asks the API for each answer')
  }

  check ({ status, length }) {
    const { row } = this
    if (status !== row.status) throw new NoResult(`answers ${status} instead of ${row.status}`)
    if (length !== row.length) throw new NoResult(`answers with ${length} bytes instead of ${row.length}`)
  }

  load (seconds, more) {
    const { bench, row } = this
    const common = { cores: bench.loadCores, threads: bench.cores, seconds, fields: row.fields }
    if (row.load === 'h2') return h2load({ ...common, ...H2, url: `http://127.0.0.1:${this.h2Port}${row.path}`, dir: bench.scratch })
    return wrk({ ...common, connections: WRK_CONNECTIONS * bench.cores, url: `http://127.0.0.1:${this.port}${row.path}`, script: row.script, ...more })
  }

  // Some seconds of load: what they took of the server, by request. Throws NoResult when they are no result.
  async measure (seconds, more) {
    const count = await originCount(this.bench.originPort)
    const began = performance.now(), cpu = cpuUs(this.child.pid)
    const seen = await this.load(seconds, more)
    const took = cpuUs(this.child.pid) - cpu, us = (performance.now() - began) * 1000
    const asked = await originCount(this.bench.originPort) - count
    this.judge(seen, asked)
    return {
      requests: seen.requests, requests_per_s: seen.requests / seen.seconds, cpu_us: took / seen.requests, busy: took / us,
      // What wrk tells of a batch is no request's time: it adds what it takes to be missing between them.
      ...this.row.script ? {} : { p50_us: seen.p50_us, p99_us: seen.p99_us }
    }
  }

  judge ({ fault, requests, bytes }, asked) {
    const { row, name, bench } = this
    if (fault) throw new NoResult(fault)
    if (this.holder && this.holder.exitCode !== null) throw new NoResult('it closed idle connections')
    // h2load breaks off what is under way when its time is up; a server may have taken such a request for one to pass.
    const allowed = requests * (row.missed ?? 0) + (row.load === 'h2' ? H2.connections * H2.streams * bench.cores : 0)
    if (row.hit && name !== 'bare' && asked > allowed) throw new NoResult(`${asked} of ${requests} requests reached the API`)
    if (!row.hit && name !== 'direct' && asked < requests) throw new NoResult(`only ${asked} of ${requests} requests reached the API`)
    const one = row.load === 'h2' ? row.length : this.sample.bytes.length
    // When time is up, each connection may have had a part of one more answer.
    const most = (requests + WRK_CONNECTIONS * bench.cores) * one
    const spare = Math.max(DIGITS_BYTES, one * BYTES_TOLERANCE) * requests
    if (bytes < requests * one - spare || bytes > most + spare) {
      throw new NoResult(`${requests} answers had ${bytes} bytes together, not ${one} each`)
    }
  }
}
