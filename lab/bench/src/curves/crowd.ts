/** The users and rooms of a curve's measurement, for Chorus and for peers. */
import type { Audience } from '../targets/target.ts'
import type { ControlConnection, BystanderUse } from './bystander-watch.ts'

/**
 * Users in groups of `size`. Each room belongs to one group; rooms are assigned to groups in turn.
 * So there may be many more rooms than groups, while every connection still receives all messages
 * of its group and no others. Groups without a room are connected and silent. One user of each room
 * sends.
 */
export interface Cliques {
  readonly people: number
  readonly size: number
  readonly rooms: number
}

export interface Population {
  /** Makes one room in which every member receives every message. */
  room(receivers: number, senders: number): Promise<Audience>
  cliques(cliques: Cliques): Promise<Audience>
  /**
   * Returns the size of one delivery's payload with its WebSocket header, or 0 if it cannot be
   * read.
   */
  readDeliveryBytes(): Promise<number>
  /**
   * Returns the processor time that these servers have used so far. Returns undefined for targets
   * that do not sweep.
   */
  readBystanders(bystanders: readonly ControlConnection[]): Promise<BystanderUse | undefined>
}

/** The crowd of a peer. Its clients name their own rooms. */
export const peerCrowd: Population = {
  readDeliveryBytes: () => Promise.resolve(0),
  readBystanders: () => Promise.resolve(undefined),
  room: (receivers, senders) =>
    Promise.resolve({
      members: Array.from({ length: receivers }, (_, index) => ({
        auth: authOf(index, ['room']),
        group: 0,
        hears: true,
      })),
      senders: Array.from({ length: Math.min(senders, receivers) }, (_, member) => sender(member, 'room')),
    }),
  cliques: ({ people, size, rooms }) => {
    const cliques = Math.floor(people / size)
    const roomsOf = (clique: number): string[] =>
      Array.from({ length: rooms }, (_, room) => room)
        .filter((room) => room % cliques === clique)
        .map((room) => `room-${room}`)
    return Promise.resolve({
      members: Array.from({ length: people }, (_, index) => {
        const clique = Math.floor(index / size)
        return { auth: authOf(index, roomsOf(clique)), group: clique, hears: clique < Math.min(cliques, rooms) }
      }),
      senders: Array.from({ length: rooms }, (_, room) =>
        sender((room % cliques) * size + (Math.floor(room / cliques) % size), `room-${room}`),
      ),
    })
  },
}

const authOf = (index: number, rooms: readonly string[]): string =>
  JSON.stringify({ user: `user-${index}`, rooms: [`user-${index}`, ...rooms] })

const sender = (member: number, room: string) => ({ member, payloadHead: `{"to":"${room}",`, clientIds: false })
