/** Tests the arguments of `npm run cluster` and the error lines for wrong arguments. */
import { expect, it } from 'vitest'
import { readClusterArguments } from './cluster-arguments.ts'

it('`npm run cluster` parses its command-line arguments', () => {
  expect(readClusterArguments([])).toEqual({
    servers: 3,
    balancer: 'haproxy',
    redisCluster: false,
    subscribeAtReplica: false,
    tls: false,
    port: undefined,
  })
  expect(readClusterArguments(['--servers', '5', '--nginx', '--redis-cluster', '--tls', '--port=8080'])).toEqual({
    servers: 5,
    balancer: 'nginx',
    redisCluster: true,
    subscribeAtReplica: false,
    tls: true,
    port: 8080,
  })
})

it.each([
  [['--servers'], '--servers has no value: expected a whole number from 1 to 20'],
  [['--servers', '0'], '--servers is "0": expected a whole number from 1 to 20'],
  [['--servers=three'], '--servers is "three": expected'],
  [['--port', '70000'], '--port is "70000": expected a port from 1 to 65535'],
  [['--redis-cluster', '--subscribe-at-replica'], 'a Redis Cluster starts without replicas: use either'],
  [['--server', '3'], '"--server" is not an argument: expected --servers N'],
])('`npm run cluster` refuses the arguments %j with one line', (args, why) => {
  const answer = readClusterArguments(args)
  expect(answer).toContain(`unable to start a cluster; ${why}`)
  expect(answer).not.toContain('\n')
})
