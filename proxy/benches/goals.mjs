// What Larder is meant to reach, and whether it did. Reads medians; a goal without figures is not judged.

const ratio = (over, under) => over !== undefined && under !== undefined ? over / under : undefined
const times = (value, goal) => ({ value, reached: value >= goal, said: `${value?.toFixed(2)}x` })

// 1 KiB, and its head as the API sends it.
const OBJECT_SHARE_MAX = 1.3
const OBJECT_EXTRA_BYTES_MAX = 200

// { text, value, reached, said } for each goal; `value` is undefined when it wasn't measured.
export const goals = table => {
  const cpu = (row, server = 'larder') => table.median(row, 1, server, 'cpu_us')
  const rate = (row, server = 'larder') => table.median(row, 1, server, 'requests_per_s')
  const peer = (server, title, goal) =>
    ({ text: `1 KiB hit: ${title} takes at least ${goal}x our CPU time`, ...times(ratio(cpu('1k', server), cpu('1k')), goal) })
  return [
    peer('haproxy', "HAProxy's cache", 1.5), peer('nginx', 'nginx', 2), peer('varnish', 'Varnish', 4),
    peer('bare', 'the bare tokio server', 0.9),
    { text: '1 KiB hit: the order by requests a second is the order by CPU time, Larder first of the caches', ...order(table) },
    { text: "1 KiB hit: p99 no worse than the best other cache's", ...tail(table) },
    { text: "1 MiB hit: at least nginx's requests a second", ...times(ratio(rate('1m'), rate('1m', 'nginx')), 1) },
    { text: '304: at least 0.9x the plain hit, by CPU time', ...times(ratio(cpu('1k'), cpu('not-modified')), 0.9) },
    { text: 'hit with Vary: at least 0.9x the plain hit, by CPU time', ...times(ratio(cpu('1k'), cpu('vary')), 0.9) },
    { text: 'distinct keys: at least 0.85x of one key, by CPU time', ...times(ratio(table.median('keys', 1, 'larder', 'one_cpu_us'), cpu('keys')), 0.85) },
    { text: "pass: at least 0.9x nginx's proxy_pass, by CPU time", ...times(ratio(cpu('miss', 'nginx-pass'), cpu('miss')), 0.9) },
    { text: "pass: at least 0.9x nginx's proxy_pass, by requests a second", ...times(ratio(rate('miss'), rate('miss', 'nginx-pass')), 0.9) },
    { text: "hit in Redis: at least half of redis-benchmark's requests a second", ...times(ratio(rate('redis'), rate('redis', 'redis-benchmark')), 0.5) },
    { text: '10,000 idle connections: at most 4 KiB each', ...atMost(table.median('idle', 1, 'larder', 'bytes_per_idle'), 4096) },
    { text: `memory for a 1 KiB object: at most ${OBJECT_SHARE_MAX}x its bytes, head and body, + ${OBJECT_EXTRA_BYTES_MAX}`, ...memory(table) }
  ]
}

const atMost = (value, limit) => ({ value, reached: value <= limit, said: `${value?.toFixed(0)} B of ${limit.toFixed(0)}` })

const memory = table => atMost(table.median('keys', 1, 'larder', 'bytes_per_object'),
  OBJECT_SHARE_MAX * (table.median('keys', 1, 'larder', 'answer_bytes') ?? 1024) + OBJECT_EXTRA_BYTES_MAX)

const CACHES = ['larder', 'haproxy', 'nginx', 'varnish']

const order = table => {
  const by = (figure, sign) => CACHES.map(server => ({ server, value: table.median('1k', 1, server, figure) }))
    .filter(({ value }) => value !== undefined).sort((a, b) => sign * (a.value - b.value))
  const cpu = by('cpu_us', 1), rate = by('requests_per_s', -1)
  if (cpu.length < 2) return {}
  const names = list => list.map(({ server }) => server).join(' ')
  return { value: 1, reached: names(cpu) === names(rate) && rate[0].server === 'larder', said: rate.map(({ server, value }) => `${server} ${value.toFixed(0)}`).join(', ') }
}

const tail = table => {
  const others = table.servers('1k', 1).filter(server => !['larder', 'bare'].includes(server))
    .map(server => ({ server, value: table.median('1k', 1, server, 'p99_us') })).filter(({ value }) => value !== undefined)
  const ours = table.median('1k', 1, 'larder', 'p99_us')
  if (others.length === 0 || ours === undefined) return {}
  const best = others.reduce((a, b) => a.value <= b.value ? a : b)
  return { value: ours, reached: ours <= best.value, said: `${ours.toFixed(0)} us, ${best.server} ${best.value.toFixed(0)} us` }
}

// The list as text, a line for each that was measured.
export const goalLines = table => {
  const all = goals(table), judged = all.filter(({ value }) => value !== undefined)
  return [
    ...judged.map(({ text, reached, said }) => `  ${reached ? 'yes' : 'NO '}  ${text}: ${said}`),
    ...judged.length < all.length ? [`  ${all.length - judged.length} more were not measured`] : []
  ]
}
