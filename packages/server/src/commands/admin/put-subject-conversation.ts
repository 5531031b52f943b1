/**
 * Finds or creates the conversation of a subject (rule SUB1). The unique index of subjects decides
 * between calls at the same time, so both return the same conversation. The bot of the key is a
 * visible member.
 *
 * In an existing conversation, each step (a missing member, the description) is one change of the
 * log. After a failure some steps may be done; a repeated call does only the others.
 */
import { ChorusError, type Id, type Subject } from '@chorus/protocol'
import { v7 as uuidv7 } from 'uuid'
import { readExternalUsers } from '../../accounts/external-users.ts'
import { foldNameOf } from '../../accounts/fold-names.ts'
import type { Database } from '../../database/database.ts'
import { readConversation } from '../../log/read-conversations.ts'
import { encodeChange } from '../../support/logged-change.ts'
import { afterStored } from '../after-stored.ts'
import type { Command } from '../command.ts'
import type { Parts } from '../parts.ts'
import { refuse } from '../refuse.ts'

const what = 'put the conversation of the subject'

export const putSubjectConversation: Command<'put-subject-conversation'> = {
  cost: { budget: 'key', members: ({ members }) => members.length + 1 },
  run: async ({ parts, actor, key }, { type, id, kind, name, title, url, data, members: externalIds }) => {
    if (kind === 'channel' && name === undefined)
      throw new ChorusError('invalid', `unable to ${what}; a channel needs a name`)
    const bot = key?.botUser ?? actor.userId
    const users = await readMembers(parts.database, externalIds)
    const subject: Subject = { type, id, title: title ?? null, url: url ?? null, data: data ?? null }
    const members = [...new Set([bot, ...users])]
    const conversation = uuidv7()
    const { outcome, detail } = await parts.log.apply({
      op: 'create',
      conversation,
      actor: bot,
      kind,
      name: name ?? null,
      directKey: null,
      members,
      subject,
    })
    switch (outcome) {
      case 'stored': {
        if (kind === 'channel' && name !== undefined) await foldNameOf(parts.database, conversation, name)
        for (const user of members) parts.feeds.announceMembership(conversation, user)
        return { conversation: await afterStored(what, () => readConversation(parts.database, bot, conversation)) }
      }
      case 'unchanged': {
        const existing = detail?.conversation ?? conversation
        for (const user of members) await addMember(parts, existing, bot, user)
        await describeSubject(parts, existing, bot, subject)
        return {
          conversation: await afterStored(what, () => readConversation(parts.database, bot, existing)),
          duplicate: true,
        }
      }
      case 'not-found':
      case 'forbidden':
      case 'too-large':
      case 'conflict':
        throw refuse(outcome, what)
    }
  },
}

async function readMembers(database: Database, externalIds: readonly string[]): Promise<Id[]> {
  const distinct = [...new Set(externalIds)]
  const users = (await readExternalUsers(database, distinct)).filter((user) => !user.deactivated && !user.erasing)
  if (users.length < distinct.length)
    throw new ChorusError('not-found', `unable to ${what}; one of the members does not exist`)
  return users.map((user) => user.id)
}

/** Adds a member unless the user already is one. The existing member keeps the role. */
async function addMember(parts: Parts, conversation: Id, bot: Id, user: Id): Promise<void> {
  const added = { op: 'put-member', conversation, actor: bot, user, role: null, byKey: true } as const
  const { outcome, seq, at, xid, detail } = await parts.log.apply(added)
  if (outcome === 'unchanged') return
  if (outcome !== 'stored') throw refuse(outcome, what)
  const change = { seq, at, actor: bot, type: 'member.joined', user, role: detail?.role ?? 'member' } as const
  parts.feeds.announce([encodeChange(conversation, xid, change)])
  parts.feeds.announceMembership(conversation, user)
}

/** Replaces title, url and data of the subject, and announces them to the members. */
async function describeSubject(parts: Parts, conversation: Id, bot: Id, subject: Subject): Promise<void> {
  const { title, url, data } = subject
  const description = { title, url, data: data === null ? null : JSON.stringify(data) }
  const described = { op: 'describe-subject', conversation, actor: bot, byKey: true, ...description } as const
  const { outcome, seq, at, xid, detail } = await parts.log.apply(described)
  if (outcome === 'unchanged') return
  if (outcome !== 'stored') throw refuse(outcome, what)
  const facts = { id: conversation, kind: detail?.kind ?? 'group', name: detail?.name ?? null, subject }
  parts.feeds.announce([
    encodeChange(conversation, xid, { seq, at, actor: bot, type: 'conversation.updated', conversation: facts }),
  ])
}
