/**
 * Two users in one conversation, connected to two servers of a cluster. Messages acknowledged at
 * one server must arrive at the other.
 */
import { randomUUID } from 'node:crypto'
import { HttpUser, SocketUser, startCluster, waitForFact } from '@chorus/testkit'
import type { Cluster, ClusterOptions } from '@chorus/testkit'
import { expect } from 'vitest'

export class TwoEnds {
  readonly cluster: Cluster
  readonly conversation: string
  readonly #writer: SocketUser
  readonly #reader: SocketUser

  private constructor(cluster: Cluster, conversation: string, writer: SocketUser, reader: SocketUser) {
    this.cluster = cluster
    this.conversation = conversation
    this.#writer = writer
    this.#reader = reader
  }

  static async open(options: Omit<ClusterOptions, 'servers' | 'env'>): Promise<TwoEnds> {
    const cluster = await startCluster({ ...options, servers: 2, env: { LIMIT_SENDS: '0', LIMIT_REQUESTS: '0' } })
    const [first = '', second = ''] = cluster.urls
    const ada = await HttpUser.signUp(cluster.url)
    const bob = await HttpUser.signUp(cluster.url)
    const conversation = await ada.createConversation('direct', [bob.id])
    const writer = await SocketUser.connect(first, { cookie: ada.cookie })
    const reader = await SocketUser.connect(second, { cookie: bob.cookie })
    return new TwoEnds(cluster, conversation, writer, reader)
  }

  async close(): Promise<void> {
    this.#writer.close()
    this.#reader.close()
    await this.cluster.remove()
  }

  /** Sends a message at one server, and waits until it arrives at the other. */
  async sendAcross(text: string): Promise<void> {
    const answer = await this.#writer.command('send', {
      conversation: this.conversation,
      clientId: randomUUID(),
      text,
    })
    expect(answer.ok).toBe(true)
    await this.#reader.waitForSeq(this.conversation, answer.seq as number)
  }

  /**
   * Waits until all servers report that they are healthy (`true`) or degraded (`false`). Without
   * Redis, or a part of it, a server stays ready but is degraded.
   */
  async waitForHealth(isWhole: boolean): Promise<void> {
    for (const url of this.cluster.urls) {
      await waitForFact(
        async () => {
          const { status, body } = await HttpUser.stranger(url).call<{ degraded: string[] }>('GET', '/readyz')
          return status === 200 && (body.degraded.length === 0) === isWhole
        },
        {
          what: isWhole ? 'a server that is whole' : 'a server that says it is degraded',
          timeoutMs: 30_000,
          everyMs: 100,
        },
      )
    }
  }

  /** Checks that every message arrived once and in order, and that no client was disconnected. */
  expectUnharmed(): void {
    const seqs = this.#reader.changesOf(this.conversation).map(({ seq }) => seq)
    expect(seqs).toEqual(seqs.map((_, index) => seqs[0]! + index))
    expect(this.#writer.disconnections).toEqual([])
    expect(this.#reader.disconnections).toEqual([])
  }
}
