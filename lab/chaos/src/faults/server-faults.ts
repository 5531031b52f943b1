/**
 * Faults F1 to F3 and F20 of the chaos test: servers are killed, frozen, shut down with SIGTERM, or
 * blocked.
 */
import { drawServer } from './fault.ts'
import type { Fault } from './fault.ts'

export const killServer: Fault = {
  kind: 'F1',
  name: 'kill -9 of a server',
  affects: ['server'],
  boundMs: 3_000,
  weight: 3,
  draw: drawServer(0, 0),
  begin: (lab, { server }) => lab.kill(server),
  heal: async () => undefined,
  restore: (lab, { server }) => lab.revive(server),
}

export const killEveryServer: Fault = {
  kind: 'F1',
  name: 'kill -9 of every server, one after the other',
  affects: ['server'],
  boundMs: 3_000,
  weight: 0,
  draw: (random, shape) => ({
    ...drawServer(0, 0)(random, shape),
    targets: Array.from({ length: shape.servers }, (_, index) => `server-${index + 1}`),
  }),
  async begin(lab) {
    for (const index of lab.servers.keys()) {
      await lab.kill(index)
      await lab.revive(index)
    }
  },
  heal: async () => undefined,
}

export const freezeServer: Fault = {
  kind: 'F2',
  name: 'SIGSTOP of a server',
  affects: ['server'],
  boundMs: 5_000,
  weight: 2,
  draw: drawServer(1_000, 4_000, 20_000),
  begin: async (lab, { server }) => lab.server(server).freeze(),
  heal: async (lab, { server }) => lab.server(server).thaw(),
}

export const leaveServer: Fault = {
  kind: 'F3',
  name: 'SIGTERM of a server under load',
  affects: ['server'],
  boundMs: 1_000,
  weight: 2,
  draw: drawServer(0, 0),
  begin: (lab, { server }) => lab.terminate(server),
  heal: async () => undefined,
  restore: (lab, { server }) => lab.revive(server),
}

/**
 * Simulates a blocked event loop by freezing the server process: from outside, both look the same.
 */
export const blockServer: Fault = {
  kind: 'F20',
  name: 'event loop of a server blocked',
  affects: ['server'],
  boundMs: 5_000,
  weight: 1,
  draw: drawServer(300, 1_500, 5_000),
  begin: async (lab, { server }) => lab.server(server).freeze(),
  heal: async (lab, { server }) => lab.server(server).thaw(),
}
