/** Who is there on a curve, for Chorus and for peers alike. */
import type { Audience } from '../targets/target.ts'
import type { Bystander, BystanderUse } from './bystander-watch.ts'

/**
 * People in groups of `size`, and rooms that each belong to one group, dealt out in turn: so there may be many more rooms
 * than groups, while every connection still hears everything of its own group and nothing else. Groups without a room
 * are there and silent. One person of each room sends.
 */
export interface Cliques {
  readonly people: number
  readonly size: number
  readonly rooms: number
}

export interface Crowd {
  /** One room in which everybody hears everything. */
  room(receivers: number, senders: number): Promise<Audience>
  cliques(cliques: Cliques): Promise<Audience>
  /** What the payload of one delivery comes to, with its WebSocket header, if it can be read; otherwise 0. */
  readDeliveryBytes(): Promise<number>
  /** What these servers have used so far; undefined for who does not sweep. */
  readBystanders(bystanders: readonly Bystander[]): Promise<BystanderUse | undefined>
}

/** Peers are told their rooms by their clients. */
export const peerCrowd: Crowd = {
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
