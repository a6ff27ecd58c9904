// All servers of one row, in turns: A, B, C, A, B, C ..., so that what changes on the machine meanwhile changes for all.
import fs from 'node:fs'
import path from 'node:path'
import { freePort, launch, stop, today, until } from './machine.mjs'
import { originCount, probe } from './probe.mjs'
import { ROWS } from './rows.mjs'
import { SERVERS } from './servers.mjs'
import { hold, keys, redis, startup, syscalls } from './special.mjs'
import { Contender } from './turn.mjs'

// Before the first round, so that threads and connections to the API are there.
const WARM_UP_S = 1

// The figures of a row, on as many cores as `bench` says.
export const measureRow = async (name, bench) => {
  const row = ROWS[name]
  const figures = []
  const tell = (server, round, all) => {
    for (const [figure, value] of Object.entries(all)) {
      figures.push({ date: today(), row: name, cores: bench.cores, server, version: bench.versions[server] ?? '', round, figure, value })
    }
  }
  const lose = (server, round, error) => {
    throwFaultsOfOurs(error)
    console.log(`  ${SERVERS[server].title}, round ${round}: no result: ${error.message}`)
    tell(server, round, { fault: error.message })
  }
  console.log(`\n${row.title}, ${bench.cores === 1 ? 'one core' : 'two cores'} ...`)
  const origin = await startOrigin(bench)
  const servers = row.servers.filter(server => bench.programs[server] && bench.asked.includes(server))
  try {
    await (HOW[row.load] ?? turns)({ row, servers, bench: { ...bench, originPort: origin.port }, tell, lose })
  } finally {
    await stop(origin.child)
  }
  return figures
}

// Whatever a server or a load does is no result of its, and the rest goes on for hours; what is wrong in here ends it.
const throwFaultsOfOurs = error => { if (error instanceof TypeError || error instanceof ReferenceError) throw error }

export const startOrigin = async bench => {
  const port = await freePort()
  const child = launch([bench.programs.direct, `127.0.0.1:${port}`, String(bench.cores)], { cores: bench.loadCores })
  if (await until(10, () => originCount(port).then(() => true, () => false)) === undefined) throw new Error('the origin did not start')
  return { port, child }
}

const turns = async ({ row, servers, bench, tell, lose }) => {
  const contenders = []
  try {
    const answer = path.join(bench.scratch, 'answer')
    for (const name of servers) {
      const contender = new Contender(name, row, bench)
      contenders.push(contender)
      try {
        if (name === 'bare' && !fs.existsSync(answer)) fs.writeFileSync(answer, (await probe({ ...contender.request(), port: bench.originPort })).bytes)
        await contender.start({ answer })
        await contender.fill()
        if (name === 'larder') fs.writeFileSync(answer, contender.sample.bytes)
        await contender.load(WARM_UP_S)
        if (row.idle) tell(name, 0, await hold(contender))
        contender.ready = true
      } catch (error) { lose(name, 0, error) }
    }
    for (let round = 1; round <= bench.rounds; round++) {
      for (const contender of contenders.filter(({ ready }) => ready)) {
        try { tell(contender.name, round, await contender.measure(bench.seconds)) } catch (error) { lose(contender.name, round, error) }
      }
    }
    if (!row.syscalls || bench.cores > 1) return
    for (const contender of contenders.filter(({ ready }) => ready)) {
      try { tell(contender.name, 0, await syscalls(contender)) } catch (error) {
        throwFaultsOfOurs(error)
        console.log(`  ${contender.title}: system calls were not counted: ${error.message}`) // its rounds stand all the same
      }
    }
  } finally {
    fs.rmSync(path.join(bench.scratch, 'answer'), { force: true })
    for (const contender of contenders) await contender.stop()
  }
}

const HOW = { keys, redis, startup }
