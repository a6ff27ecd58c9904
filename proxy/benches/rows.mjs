// What is compared: one question a row. How a row is measured is in turn.mjs.
//
// `path` and `fields` are the request, `status` and `length` the answer it must get; `hit` says that the origin must not be
// asked. `servers` are those that the row makes sense for, `two` that it is measured on two cores, too.

const CACHES = ['larder', 'haproxy', 'nginx', 'varnish', 'trafficserver', 'squid']
const WITH_FLOOR = ['larder', 'bare', ...CACHES.slice(1)]

const hit = (title, length, more) => ({
  title, path: `/size/${length}`, fields: {}, status: 200, length, hit: true, load: 'wrk', servers: WITH_FLOOR, ...more
})

export const ROWS = {
  '1k': hit('1 KiB hit', 1024, { two: true, syscalls: true }),
  '100b': hit('100 B hit', 100),
  '16k': hit('16 KiB hit', 16 * 1024, { two: true }),
  '256k': hit('256 KiB hit', 256 * 1024),
  '1m': hit('1 MiB hit', 1024 * 1024, { two: true }),
  'not-modified': hit('304, by If-None-Match', 0, { path: '/size/1024', fields: { 'If-None-Match': '"larder-1024"' }, status: 304, warm: [{}], two: true }),
  vary: hit('1 KiB hit with Vary', 1024, {
    path: '/vary/1024', fields: { 'Accept-Encoding': 'gzip, br' }, warm: [{}, { 'Accept-Encoding': 'gzip' }], two: true
  }),
  // A store that loses one in a thousand of its objects is still looked at.
  keys: hit('1 KiB hit, distinct keys', 1024, { path: '/size/1024?k=0', load: 'keys', servers: CACHES, missed: 0.001 }),
  miss: hit('1 KiB, passed (no-store)', 1024, {
    path: '/private/1024', hit: false, two: true,
    servers: ['larder', 'direct', 'nginx-pass', ...CACHES.slice(1)]
  }),
  // Who waits for Redis in vain asks the API.
  redis: hit('1 KiB hit in Redis', 1024, { path: '/size/1024?k=0', load: 'redis', missed: 0.001, servers: ['larder', 'redis-benchmark'] }),
  idle: hit('1 KiB hit, 10,000 idle connections besides', 1024, { idle: true, two: true }),
  h2: hit('1 KiB hit, HTTP/2', 1024, { load: 'h2', servers: CACHES.filter(name => name !== 'squid') }),
  pipelined: hit('1 KiB hit, 16 requests at once', 1024, { script: ['pipelined', '16'], two: true }),
  startup: hit('start to first answer', 1024, { load: 'startup', servers: WITH_FLOOR })
}

// Why a server is not in a row, for those who miss it.
export const LEFT_OUT = {
  h2: { bare: 'it speaks HTTP/1.1 alone', squid: 'it speaks HTTP/1.1 alone with clients' },
  keys: { bare: 'it looks nothing up' }
}

export const WRK_CONNECTIONS = 64
export const H2 = { connections: 16, streams: 8 }
