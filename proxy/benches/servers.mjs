// How is each server started, for one row, before the same origin? The reasons for the peers' settings are in peers/.
//
// A server gives the command line for what a row needs: { dir, port, h2Port, originPort, threads, storeMib, keys, memory, status, length, program,
// answer, redisPort }.
// `threads` is the number of cores; the store has room for all of the row's `keys`. What a row asks for is not known here.
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const PEERS = fileURLToPath(new URL('peers/', import.meta.url))

// Open files that a process may have, and the clients that all servers are told to expect: more than the row with most of them needs.
const filesMax = () => {
  const limit = /^Max open files\s+\d+\s+(\d+)/m.exec(fs.readFileSync('/proc/self/limits', 'utf8'))
  return Math.min(65_536, Number(limit?.[1] ?? 1024))
}
const connectionsMax = () => Math.min(15_000, filesMax())

// A peer's file with its words filled in, written to the server's folder; its path there.
const filled = (name, needs, words) => {
  const known = {
    DIR: needs.dir, PORT: needs.port, H2_PORT: needs.h2Port, ORIGIN_HOST: '127.0.0.1', ORIGIN_PORT: needs.originPort,
    ORIGIN: `127.0.0.1:${needs.originPort}`, THREADS: needs.threads, STORE_MIB: needs.storeMib, FILES: filesMax(),
    CONNECTIONS: connectionsMax(), ...words
  }
  const text = fs.readFileSync(path.join(PEERS, name), 'utf8').replace(/\{\{(\w+)\}\}/g, (_, word) => {
    if (known[word] === undefined) throw new Error(`${name} asks for ${word}`)
    return known[word]
  })
  const file = path.join(needs.dir, path.basename(name))
  fs.writeFileSync(file, text)
  return file
}

// Who a server runs as.
const userFor = ({ user }) => process.getuid() === 0 ? user : os.userInfo().username

// The first match in what a program says of its version.
const said = (argv, pattern) => {
  try {
    // Some say it on one stream, some on the other.
    const text = execFileSync('sh', ['-c', '"$@" 2>&1', 'sh', ...argv], { encoding: 'utf8' })
    return pattern.exec(text)?.[1]
  } catch { return undefined }
}

// Ours: default settings but for the log, the memory, and what a row needs besides.
const larder = {
  version: program => said([program, '--version'], /larder-proxy (\S+)/),
  argv: needs => [needs.program, '--listen', `127.0.0.1:${needs.port}`, '--admin', `127.0.0.1:${needs.h2Port}`,
    '--upstream', `http://127.0.0.1:${needs.originPort}`, '--log-level', 'warn', '--memory', needs.memory ?? `${needs.storeMib}MiB`,
    '--connections-max', String(connectionsMax()), '--client-idle-timeout', '1h',
    ...needs.redisPort ? ['--redis', `redis://127.0.0.1:${needs.redisPort}`] : []],
  // Its second port is the admin's: HTTP/2 is spoken on the first.
  h2Port: needs => needs.port
}

// Parses each request and writes one answer's bytes: the floor.
const bare = {
  version: () => 'tokio',
  argv: needs => [needs.program, `127.0.0.1:${needs.port}`, needs.answer, String(needs.threads)]
}

// The origin itself, in the place of a cache.
const direct = {
  version: () => 'tokio',
  argv: needs => [needs.program, `127.0.0.1:${needs.port}`, String(needs.threads)]
}

const nginxWith = cache => ({
  version: program => said([program, '-v'], /nginx\/(\S+)/),
  h2Port: needs => needs.h2Port,
  argv: needs => [needs.program, '-c', filled('nginx.conf', needs, {
    SENDFILE: needs.length < 16 * 1024 ? 'off' : 'on',
    OPEN_FILES: needs.keys > 10_000 ? 'off' : 'max=10000 inactive=1h',
    // The documentation: a MiB of the zone holds about 8,000 keys. Twice that much room.
    ZONE_MIB: Math.max(16, Math.ceil(needs.keys / 4000)),
    CACHE: cache
  })]
})

const haproxy = {
  version: program => said([program, '-v'], /version (\S+?)[ ,]/),
  h2Port: needs => needs.port,
  argv: needs => [needs.program, '-db', '-f', filled('haproxy.cfg', needs, {
    STORE_MIB: Math.min(4095, needs.storeMib),
    // wrk waits for the body that a 304's Content-Length announces, though none may come.
    FOR_WRK: needs.status === 304 ? 'http-after-response del-header content-length if { status 304 }' : ''
  })]
}

const varnish = {
  version: program => said([program, '-V'], /varnish-(\S+)/),
  h2Port: needs => needs.port,
  argv: needs => [needs.program, '-F',
    '-n', path.join(needs.dir, 'work'), // its shared memory lies on tmpfs, too
    '-j', 'none', // the child is not started as another user
    '-a', `127.0.0.1:${needs.port},HTTP`,
    '-f', filled('varnish.vcl', needs),
    '-s', `malloc,${needs.storeMib}m`,
    '-p', `thread_pools=${needs.threads}`, // one for each core, as the manual says
    '-p', 'thread_pool_min=200', // a thread for each busy connection, ready
    '-p', 'feature=+http2',
    '-p', 'timeout_idle=3600', // nobody is sent away
    '-p', 'listen_depth=4096',
    '-p', `vsl_mask=${silence(needs.program)}`] // no log record of any request, as everywhere
}

// Every kind of log record there is, off.
const silence = program => {
  const text = execFileSync(program, ['-x', 'vsl'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  return [...text.matchAll(/^([A-Z][A-Za-z0-9_]*) \(/gm)].map(([, tag]) => `-${tag}`).join(',')
}

const trafficserver = {
  user: 'trafficserver', // not as root
  version: program => said([program, '-V'], /Traffic Server (\S+)/),
  h2Port: needs => needs.port,
  argv: needs => {
    for (const folder of ['run', 'log', 'store', 'body_factory']) {
      fs.mkdirSync(path.join(needs.dir, folder))
      fs.chmodSync(path.join(needs.dir, folder), 0o777)
    }
    const words = {
      USER: userFor(trafficserver),
      RAM_BYTES: needs.storeMib * 2 ** 20,
      // One place of the directory for each key, and as many to spare.
      AVERAGE_BYTES: needs.keys > 10_000 ? 1500 : 8000
    }
    const file = name => filled(`trafficserver/${name}`, needs, words)
    for (const name of ['records.config', 'remap.config', 'storage.config', 'ip_allow.yaml']) file(name)
    return [needs.program, `--run-root=${file('runroot.yaml')}`]
  }
}

const squid = {
  user: 'proxy', // not as root
  version: program => said([program, '-v'], /Version (\S+)/),
  // One worker needs no process that watches it. The name keeps its shared memory apart from another's.
  argv: needs => [needs.program, needs.threads === 1 ? '-N' : '--foreground', '-n', `bench${process.pid}`,
    '-f', filled('squid.conf', needs, { USER: userFor(squid) })]
}

// In the order of the tables. `program` is looked up on PATH unless the command line names one.
export const SERVERS = {
  larder: { title: 'Larder', ...larder },
  bare: { title: 'bare tokio', ...bare },
  haproxy: { title: 'HAProxy', program: 'haproxy', ...haproxy },
  nginx: { title: 'nginx', program: 'nginx', ...nginxWith('proxy_cache answers;') },
  varnish: { title: 'Varnish', program: 'varnishd', ...varnish },
  trafficserver: { title: 'Traffic Server', program: 'traffic_server', ...trafficserver },
  squid: { title: 'Squid', program: 'squid', ...squid },
  'nginx-pass': { title: 'nginx, passing', program: 'nginx', ...nginxWith('proxy_cache off;') },
  direct: { title: 'the API itself', ...direct },
  'redis-benchmark': { title: 'redis-benchmark', program: 'redis-benchmark', version: program => said([program, '--version'], /redis-benchmark (\S+)/) }
}

// Where a program is, or undefined.
export const find = name => (process.env.PATH ?? '').split(':').map(dir => path.join(dir, name)).find(file => {
  try { fs.accessSync(file, fs.constants.X_OK); return fs.statSync(file).isFile() } catch { return false }
})
