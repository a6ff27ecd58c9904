// Processes on chosen cores, what they take of the machine, and what machine it is. Linux alone: it reads /proc.
import { execFileSync, spawn } from 'node:child_process'
import fs from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'

const TICKS_PER_S = Number(execFileSync('getconf', ['CLK_TCK']))

export const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))

// Asks again until there is an answer other than false and undefined; undefined when the time is up.
export const until = async (seconds, ask, pauseMs = 20) => {
  const deadline = performance.now() + seconds * 1000
  for (;;) {
    const answer = await ask()
    if (answer !== undefined && answer !== false) return answer
    if (performance.now() > deadline) return undefined
    await sleep(pauseMs)
  }
}

const running = new Set()

// A program on these cores ('0', '0,1'). It ends with this process, even when that is killed. One that won't run as root, and
// would free itself of that when it changes its user, is started as another user at once.
export const launch = (argv, { cores, log, user }) => {
  const out = log ? fs.openSync(log, 'a') : 'ignore'
  const other = user && process.getuid() === 0 ? ['--reuid', user, '--regid', user, '--clear-groups'] : []
  const child = spawn('setpriv', [...other, '--pdeathsig', 'TERM', 'taskset', '-c', cores, ...argv], { stdio: ['ignore', out, out] })
  if (log) fs.closeSync(out)
  child.ended = new Promise(resolve => { child.on('exit', resolve); child.on('error', resolve) })
  child.ended.then(() => running.delete(child))
  running.add(child)
  return child
}

// The same for a program that ends by itself: what it printed. It is an error when it fails.
export const run = async (argv, { cores } = {}) => {
  const pinned = cores === undefined ? argv : ['taskset', '-c', cores, ...argv]
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', ...pinned], { stdio: ['ignore', 'pipe', 'pipe'] })
  running.add(child)
  let out = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', data => { out += data })
  const code = await new Promise(resolve => { child.on('close', resolve); child.on('error', resolve) })
  running.delete(child)
  if (code !== 0) throw new Error(`${argv[0]} failed (${code}): ${out.trim().slice(-2000)}`)
  return out
}

const alive = child => child.pid !== undefined && child.exitCode === null && child.signalCode === null

// Asks a program to end and waits; whatever is left of it and its children after that is killed.
export const stop = async child => {
  if (!alive(child)) return
  const pids = tree(child.pid)
  child.kill('SIGTERM')
  if (await until(8, () => !alive(child)) === undefined) child.kill('SIGKILL')
  await child.ended
  const left = () => pids.filter(pid => stat(pid))
  if (await until(3, () => left().length === 0) === undefined) left().forEach(pid => process.kill(pid, 'SIGKILL'))
}

export const stopAll = async () => { for (const child of [...running].reverse()) await stop(child) }

// The fields of /proc/PID/stat from the state on: [0] state, [1] parent, [11] user, [12] system ticks.
const stat = pid => {
  try {
    const text = fs.readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' ? undefined : fields
  } catch { return undefined }
}

// A process and all that came from it.
export const tree = root => {
  const children = new Map()
  for (const name of fs.readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const parent = Number(stat(name)?.[1])
    if (parent) children.set(parent, [...children.get(parent) ?? [], Number(name)])
  }
  const found = [root]
  for (const pid of found) found.push(...children.get(pid) ?? [])
  return found
}

// User and system time of a process tree so far, in microseconds.
export const cpuUs = root => tree(root).map(stat).filter(Boolean)
  .reduce((sum, fields) => sum + (Number(fields[11]) + Number(fields[12])) / TICKS_PER_S * 1e6, 0)

// The memory of a process tree, in bytes; what its processes share counts once.
export const memoryBytes = root => tree(root).reduce((sum, pid) => {
  try {
    const kib = /^Pss:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'))
    return sum + Number(kib?.[1] ?? 0) * 1024
  } catch { return sum }
}, 0)

// What is used of the file system that a folder is on, in bytes.
export const filesBytes = folder => {
  const { blocks, bfree, bsize } = fs.statfsSync(folder)
  return (blocks - bfree) * bsize
}

// A folder for this run, in one on tmpfs. Those of runs that were killed go.
export const makeScratch = parent => {
  for (const name of fs.readdirSync(parent)) {
    const pid = /^larder-bench-(\d+)-/.exec(name)?.[1]
    if (pid && !fs.existsSync(`/proc/${pid}`)) fs.rmSync(path.join(parent, name), { recursive: true, force: true })
  }
  const scratch = fs.mkdtempSync(path.join(parent, `larder-bench-${process.pid}-`))
  fs.chmodSync(scratch, 0o755) // servers that run as another user have folders in it
  return scratch
}

// A port that nothing listens on, below the range from which systems take ports for outgoing connections.
export const freePort = async () => {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 20_000)
    const free = await new Promise(resolve => {
      const server = net.createServer()
      server.on('error', () => resolve(false))
      server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
    })
    if (free) return port
  }
}

const firstLine = (file, pattern) => { try { return pattern.exec(fs.readFileSync(file, 'utf8'))?.[1].trim() } catch { return undefined } }

export const today = () => new Date().toISOString().slice(0, 10)

// What a reader must know of the machine to compare.
export const facts = () => ({
  processor: firstLine('/proc/cpuinfo', /^model name\s*:\s*(.*)$/m) ?? os.cpus()[0]?.model ?? os.arch(),
  cores: String(os.availableParallelism()),
  memory: `${Math.round(os.totalmem() / 2 ** 30)} GiB`,
  kernel: os.release(),
  system: firstLine('/etc/os-release', /^PRETTY_NAME="?([^"\n]*)/m) ?? os.platform(),
  virtual: /^flags.*\bhypervisor\b/m.test(fs.readFileSync('/proc/cpuinfo', 'utf8')) ? 'yes' : 'no'
})
