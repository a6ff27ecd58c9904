// Holds idle connections to a server: each asks once, so that it has been served, and then says nothing more.
//
//   node hold.mjs PORT COUNT PATH
//
// Prints `open` once all are there. Ends, with code 1, as soon as the server has closed one.
import net from 'node:net'
import { requestText } from './probe.mjs'

const AT_ONCE = 50

const [port, count, path] = [Number(process.argv[2]), Number(process.argv[3]), process.argv[4]]
const request = requestText({ port, path })
let begun = 0, open = 0

const lost = why => { console.log(`lost after ${open}: ${why}`); process.exit(1) }

const next = () => {
  if (begun === count) return
  begun++
  const socket = net.connect({ port, host: '127.0.0.1' })
  let bytes = 0, expected
  socket.on('error', error => lost(error.message)).on('close', () => lost('the server closed it'))
  socket.on('connect', () => socket.write(request))
  socket.on('data', data => {
    bytes += data.length
    const head = expected ?? data.indexOf('\r\n\r\n')
    expected ??= head + 4 + Number(/content-length: (\d+)/i.exec(data.toString('latin1', 0, head))?.[1])
    if (bytes < expected) return
    if (++open === count) console.log('open')
    next()
  })
}

for (let i = 0; i < AT_ONCE; i++) next()
