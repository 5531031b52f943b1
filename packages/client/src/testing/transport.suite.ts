/** Contract suite for transports: checks the guarantees of every transport over a real socket. */
import { ChorusError, type ServerEvent, type User } from '@chorus/protocol'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { eventually } from './eventually.ts'
import type { LinkEnd, Transport, TransportLink } from '../connection/transport.ts'
import { createId, FakeServer, type FakeConversation } from './fake-server.ts'

/** Creates the transport for a server URL and a session token. */
export type MakeTransport = (url: string, token: string) => Transport

interface Heard {
  readonly events: ServerEvent[]
  readonly ends: LinkEnd[]
  opened: number
}

export function transportSuite(name: string, make: MakeTransport): void {
  describe(`the transport contract, ${name}`, () => {
    let server: FakeServer
    let ada: User
    let tea: FakeConversation
    const links: TransportLink[] = []

    beforeEach(async () => {
      server = new FakeServer()
      await server.start()
      ada = server.addUser('ada')
      tea = server.addConversation('group', 'Tea', [ada])
      server.sessions.set('token', ada.id)
    })
    afterEach(async () => {
      for (const link of links.splice(0)) link.close()
      await server.stop()
    })

    function connect(cursor?: string, token = 'token'): { link: TransportLink; heard: Heard } {
      const heard: Heard = { events: [], ends: [], opened: 0 }
      const link = make(server.url, token).connect(cursor, {
        onOpen: () => {
          heard.opened += 1
        },
        onEvent: (event) => heard.events.push(event),
        onEnd: (end) => heard.ends.push(end),
      })
      links.push(link)
      return { link, heard }
    }

    const namesOf = ({ events }: Heard): string[] => events.map((event) => event.name)

    it('a transport delivers `ready` and later events in order', async () => {
      const { heard } = connect()
      await eventually(() => expect(namesOf(heard)).toEqual(['ready']))
      expect(heard.opened).toBe(1)
      server.send(tea, ada, 'one')
      server.send(tea, ada, 'two')
      await eventually(() =>
        expect(namesOf(heard)).toEqual(['ready', 'changes', 'checkpoint', 'changes', 'checkpoint']),
      )
    })

    it('[RES3] a transport resumes from a cursor: missed changes arrive before `ready`', async () => {
      const { cursor } = server
      server.send(tea, ada, 'missed')
      const { heard } = connect(cursor)
      await eventually(() => expect(namesOf(heard)).toEqual(['changes', 'ready']))
      expect(server.cursors).toEqual([cursor])
    })

    it('[ACK2] a transport sends commands and returns refusals unchanged', async () => {
      const { link, heard } = connect()
      await eventually(() => expect(namesOf(heard)).toContain('ready'))
      const clientId = createId()
      const request = { conversation: tea.id, clientId, text: 'hello' }
      const first = await link.request('send-message', request)
      expect(first).toMatchObject({ seq: 3 })
      expect(await link.request('send-message', request)).toMatchObject({ seq: first.seq, duplicate: true })
      const refused = await link
        .request('edit-message', { conversation: createId(), seq: 1, text: 'x' })
        .catch((error: unknown) => error)
      expect(refused).toBeInstanceOf(ChorusError)
      expect(refused).toMatchObject({ code: 'not-found', retry: 'never' })
    })

    it('[ACK2] a command rejects with `unknown` when the link ends before the response', async () => {
      const { link, heard } = connect()
      await eventually(() => expect(namesOf(heard)).toContain('ready'))
      server.sendFaults = ['lose']
      const asking = link.request('send-message', { conversation: tea.id, clientId: createId(), text: 'x' })
      const failing = expect(asking).rejects.toMatchObject({ code: 'unknown' })
      await eventually(() => expect(server.texts(tea)).toEqual(['x']))
      await server.stop()
      await failing
    })

    it('a transport reports a lost link once and nothing afterwards', async () => {
      const { heard } = connect()
      await eventually(() => expect(namesOf(heard)).toContain('ready'))
      server.cut()
      await eventually(() => expect(heard.ends).toEqual([{ kind: 'lost' }]))
    })

    it('a transport delivers no event after `close`', async () => {
      const { link, heard } = connect()
      await eventually(() => expect(namesOf(heard)).toContain('ready'))
      link.close()
      server.send(tea, ada, 'x')
      await eventually(() => expect(server.lines.size).toBe(0))
      // Wait until a second link on the same server is ready. By then, the closed link would have
      // received the event, too.
      const other = connect()
      await eventually(() => expect(namesOf(other.heard)).toContain('ready'))
      expect(namesOf(heard)).toEqual(['ready'])
      expect(heard.ends).toEqual([])
      await expect(link.request('set-status', { status: 'away' })).rejects.toMatchObject({ code: 'unavailable' })
    })

    it('[ACL2] a transport reports an invalid session as revoked', async () => {
      const { heard } = connect(undefined, 'forged')
      await eventually(() => expect(heard.ends).toMatchObject([{ kind: 'revoked' }]))
      expect(heard.events).toEqual([])
    })

    it('[LIM2] a transport reports whether a refusal is permanent or temporary', async () => {
      server.handshakeError = new ChorusError('forbidden', 'unable to connect; not from there')
      const refused = connect()
      await eventually(() => expect(refused.heard.ends).toMatchObject([{ kind: 'refused' }]))
      server.handshakeError = new ChorusError('unavailable', 'unable to connect; later')
      const later = connect()
      await eventually(() => expect(later.heard.ends).toEqual([{ kind: 'lost' }]))
    })

    it('a transport reports a lost link when no server listens', async () => {
      await server.stop()
      const { heard } = connect()
      await eventually(() => expect(heard.ends).toEqual([{ kind: 'lost' }]))
      expect(heard.opened).toBe(0)
    })

    it('a transport drops unknown and malformed events', async () => {
      const { heard } = connect()
      await eventually(() => expect(namesOf(heard)).toEqual(['ready']))
      server.tellAll('invention', { of: 'a later version' })
      server.tellAll('changes', { conversation: tea.id, changes: [{ seq: 'one' }] })
      server.tellAll('checkpoint', 'nonsense')
      server.send(tea, ada, 'x')
      await eventually(() => expect(namesOf(heard)).toEqual(['ready', 'changes', 'checkpoint']))
    })
  })
}
