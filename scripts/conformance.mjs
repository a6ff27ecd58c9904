// Runs the HTTP cache test suite (npm: http-cache-tests) through a proxy, and says what it found.
//
//   node conformance.mjs SUITE-FOLDER ORIGIN-PORT PROXY-URL DOCUMENT PAUSE-MS [TEST-ID]
//
// The suite's origin is started here, on 127.0.0.1 alone: the suite's own starter listens everywhere. A test counts as passed
// as on cache-tests.fyi: its own result is good, and those of the tests it depends on. DOCUMENT explains the tests that are
// not passed, each in a table row that begins with its name; a test not passed that it does not explain makes this fail.
// PAUSE-MS is the time before each request, for a store that is written behind the answer.
import fs from 'node:fs'
import http from 'node:http'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

const [folder, port, base, documentPath, pauseMs, only] = process.argv.slice(2)
const load = name => import(pathToFileURL(path.join(folder, name)))
const [{ runTests, getResults }, { default: suites }, { default: fetch }] = await Promise.all(
  ['client/runner.mjs', 'tests/index.mjs', '../node-fetch/lib/index.mjs'].map(load))
const handlers = Object.fromEntries(await Promise.all(['config', 'state', 'test'].map(async name =>
  [name, (await load(`server/handle-${name}.mjs`)).default])))

const say = console.log
if (!only) console.log = () => {} // the suite reports each oddity that it provokes

const origin = http.createServer((request, response) => {
  const [dispatch, ...rest] = new URL(request.url, base).pathname.split('/').slice(1)
  const handle = handlers[dispatch]
  if (handle) return handle(rest, request, response)
  response.writeHead(404).end()
})
await new Promise(resolve => origin.listen(Number(port), '127.0.0.1', resolve))

const tests = new Map(suites.flatMap(suite => suite.tests).filter(test => !test.browser_only).map(test => [test.id, test]))
if (only && !tests.has(only)) { console.error(`there is no test ${only}`); process.exit(64) }
const asked = only ? [{ tests: [{ ...tests.get(only), dump: true }] }] : suites
const pause = () => new Promise(resolve => setTimeout(resolve, Number(pauseMs)))
await runTests(asked, (...request) => pause().then(() => fetch(...request)), false, base)
origin.close()
origin.closeAllConnections()

const results = getResults()
const good = id => results[id] === true && (only || (tests.get(id)?.depends_on ?? []).every(good))
const why = id => {
  if (results[id] !== true) return results[id]?.join(': ') ?? 'not run'
  return `depends on ${tests.get(id).depends_on.filter(other => !good(other)).join(', ')}`
}
const explained = new Set([...fs.readFileSync(documentPath, 'utf8').matchAll(/^\| `([^`]+)` \|/gm)].map(row => row[1]))
const unexplained = []
const score = {}
for (const kind of ['required', 'optimal', 'check']) {
  const ids = [...tests.values()].filter(test => (test.kind ?? 'required') === kind && test.id in results).map(test => test.id)
  const missed = ids.filter(id => !good(id))
  score[kind] = `${ids.length - missed.length} of ${ids.length} ${kind}`
  if (kind === 'check') continue // a question with two good answers
  for (const id of missed) {
    say(`  ${explained.has(id) ? 'explained' : 'FAILED   '} ${kind} ${id}: ${why(id)}`)
    if (!explained.has(id)) unexplained.push(id)
  }
}
say(`conformance: ${score.required}, ${score.optimal}, ${unexplained.length} unexplained`)
process.exit(unexplained.length ? 1 : 0)
