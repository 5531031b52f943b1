/**
 * Creates the users and rooms of a curve's measurement, for Chorus and for the servers it is
 * compared with.
 */
import type { Audience } from '../targets/target.ts'
import type { ControlConnection, BystanderUse } from './bystander-watch.ts'

/**
 * `people` users in groups of `size`. Each of the `rooms` belongs to one group; the rooms are
 * assigned to the groups in rotation. So there can be far more rooms than groups, while every
 * connection still receives exactly the messages of its group. Users of a group without a room are
 * connected and receive nothing. One user of each room sends messages.
 */
export interface Cliques {
  readonly people: number
  readonly size: number
  readonly rooms: number
}

export interface Population {
  /**
   * Creates one room in which every member receives every message. `senders` of its members send.
   */
  room(receivers: number, senders: number): Promise<Audience>
  cliques(cliques: Cliques): Promise<Audience>
  /**
   * Returns the size in bytes of the WebSocket frame that delivers one message, or 0 if it cannot
   * be read.
   */
  readDeliveryBytes(): Promise<number>
  /**
   * Returns the processor time that these servers without connections have used so far. Returns
   * undefined for a chat system whose servers do not sweep (poll for rows that other servers
   * stored).
   */
  readBystanders(bystanders: readonly ControlConnection[]): Promise<BystanderUse | undefined>
}

/**
 * The users and rooms for a server that Chorus is compared with. Its clients name their own rooms
 * when they connect.
 */
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
