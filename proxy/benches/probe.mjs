// Is an answer what the row says it is? One request over a connection of its own, with exactly the bytes that the load sends.
import http2 from 'node:http2'
import net from 'node:net'

const TIMEOUT_MS = 5000

// The text of a GET as wrk sends it.
export const requestText = ({ port, path, fields = {}, host = `127.0.0.1:${port}` }) =>
  `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n${Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`

// { status, fields, length, bytes }: the length of the body, and all bytes as they came. Rejects when none came.
export const probe = request => new Promise((resolve, reject) => {
  const socket = net.connect(request.port, '127.0.0.1')
  let bytes = Buffer.alloc(0)
  const end = (settle, value) => { socket.destroy(); settle(value) }
  socket.setTimeout(TIMEOUT_MS, () => end(reject, new Error(`no answer to ${request.path} within ${TIMEOUT_MS} ms`)))
  socket.on('error', error => end(reject, error))
  socket.on('close', () => end(reject, new Error(`the connection ended within the answer to ${request.path}`)))
  socket.on('connect', () => socket.write(requestText(request)))
  socket.on('data', data => {
    bytes = Buffer.concat([bytes, data])
    try {
      const answer = parse(bytes)
      if (answer) end(resolve, answer)
    } catch (error) { end(reject, error) }
  })
})

// A complete answer, or nothing yet. Answers without a length are none that the rows use.
const parse = bytes => {
  const end = bytes.indexOf('\r\n\r\n')
  if (end < 0) return undefined
  const [first, ...lines] = bytes.toString('latin1', 0, end).split('\r\n')
  const fields = Object.fromEntries(lines.map(line => [line.split(':', 1)[0].toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]))
  const status = Number(first.split(' ')[1])
  const length = status === 304 ? 0 : Number(fields['content-length'])
  if (Number.isNaN(length)) throw new Error(`an answer without Content-Length: ${first}`)
  return bytes.length < end + 4 + length ? undefined : { status, fields, length, bytes: bytes.subarray(0, end + 4 + length) }
}

// The same over HTTP/2 without TLS.
export const probeH2 = ({ port, path, fields = {} }) => new Promise((resolve, reject) => {
  const session = http2.connect(`http://127.0.0.1:${port}`)
  const end = (settle, value) => { session.destroy(); settle(value) }
  session.on('error', error => end(reject, error))
  session.setTimeout(TIMEOUT_MS, () => end(reject, new Error(`no HTTP/2 answer within ${TIMEOUT_MS} ms`)))
  const stream = session.request({ ':path': path, ...fields })
  let status, answer, length = 0
  stream.on('error', error => end(reject, error))
  stream.on('response', got => { answer = got; status = Number(got[':status']) })
  stream.on('data', data => { length += data.length })
  stream.on('end', () => end(resolve, { status, fields: answer ?? {}, length }))
})

// How many requests the origin has been asked.
export const originCount = async port => {
  const { bytes, length } = await probe({ port, path: '/count' })
  return Number(bytes.subarray(bytes.length - length))
}
