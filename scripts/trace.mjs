/**
 * `npm run trace -- <conversation> <seq> <user>`: shows what happened to one message on its way to
 * one user. A link to the message (menu item "Copy link") can replace the conversation and the seq.
 * Asks every server at its metrics address (`--at`, several separated by commas; default:
 * METRICS_URLS). Prints the state of the message in the database, and the events that each server
 * still has in memory. Missing information is reported as missing.
 */
const usage = `usage: npm run trace -- [--at http://server-1:9464,http://server-2:9464] <conversation> <seq> <user id or handle>
       npm run trace -- [--at …] <link to the message> <user id or handle>`

const answerWithinMs = 10_000

function readArguments(list) {
  const rest = []
  let at = process.env.METRICS_URLS ?? `http://127.0.0.1:${process.env.METRICS_PORT ?? 9464}`
  for (let index = 0; index < list.length; index += 1) {
    if (list[index] === '--at') at = list[(index += 1)] ?? ''
    else rest.push(list[index])
  }
  const [, ...linked] = /^https?:\/\/[^/]+\/c\/([\da-f-]{36})\/(\d+)$/i.exec(rest[0] ?? '') ?? []
  if (linked.length > 0) rest.splice(0, 1, ...linked)
  const servers = at.split(',').map((one) => one.trim())
  if (rest.length !== 3 || !/^\d+$/.test(rest[1]) || !servers.every((one) => URL.canParse(one))) return undefined
  const [conversation, seq, user] = rest
  return { servers: servers.map((one) => new URL(one).origin), conversation, seq, user }
}

async function ask(origin, query) {
  try {
    const response = await fetch(`${origin}/trace?${query}`, { signal: AbortSignal.timeout(answerWithinMs) })
    const body = await response.json().catch(() => ({ problem: `status ${response.status}` }))
    return response.ok ? { origin, answer: body } : { origin, problem: body.problem ?? `status ${response.status}` }
  } catch (error) {
    return { origin, problem: error.cause?.code ?? error.message }
  }
}

const say = (label, text) => process.stdout.write(`${label.padEnd(14)} ${text}\n`)

function tellDatabase({ change, member, top }, seq) {
  if (top === null) return say('committed', 'there is no such conversation')
  if (change === null)
    say('committed', seq > top ? `not yet: the newest change is ${top}` : 'the row is gone (deleted by retention)')
  else {
    const later = [change.editedAt && `edited ${change.editedAt}`, change.deletedAt && `deleted ${change.deletedAt}`]
    say(
      'committed',
      [`${change.at}, ${change.type} by ${change.actor}, xid ${change.xid}`, ...later.filter(Boolean)].join(', '),
    )
  }
  if (member === null) return say('member', 'there is no such user')
  if (member.role === null) return say('member', `${member.handle} was never a member and may not see the change`)
  if (member.leftSeq !== null)
    say(
      'member',
      `${member.handle} left with change ${member.leftSeq}${member.leftSeq < seq ? ', and may see nothing later' : ''}`,
    )
  else say('member', `${member.handle} is ${member.role} since change ${member.joinedSeq}`)
  say('read', member.readSeq >= seq ? `yes: read up to ${member.readSeq}` : `not yet: read up to ${member.readSeq}`)
}

const verbs = {
  published: 'published it to the other servers',
  received: 'received it from another server',
  repaired: 'found it in the database, without a hint',
}

function tellServer({ server, happened, knownSince, connections }) {
  for (const { what, at, connections: count } of happened)
    say(server, `${at} ${what === 'delivered' ? `handed it to ${count} connections` : verbs[what]}`)
  if (happened.length === 0)
    say(server, knownSince === null ? 'no event since its start' : `no event in its trace (kept since ${knownSince})`)
  for (const { transport, state, since, isSubscribed, unreadBytes, isCovered, wasThere } of connections) {
    const told = !isSubscribed
      ? 'not subscribed to the conversation'
      : happened.some(({ what }) => what === 'delivered')
        ? wasThere
          ? 'written to it'
          : 'opened later, had to catch up'
        : 'subscribed'
    const behind = unreadBytes > 0 ? `, ${unreadBytes} bytes not read yet` : ''
    say(
      '',
      `  ${transport} since ${since}, ${state}: ${told}${behind}${isCovered ? ', cursor passed' : ', cursor not passed yet'}`,
    )
  }
}

const wanted = readArguments(process.argv.slice(2))
if (wanted === undefined) {
  process.stderr.write(`${usage}\n`)
  process.exit(2)
}
const { servers, conversation, seq, user } = wanted
const query = new URLSearchParams({ conversation, seq, user })
const results = await Promise.all(servers.map((origin) => ask(origin, query)))
const answers = results.flatMap(({ answer }) => answer ?? [])
say('message', `${conversation} ${seq} → ${user}`)
const known = answers.find(({ database }) => database !== undefined)
if (known !== undefined) tellDatabase(known.database, Number(seq))
else if (answers.length > 0) say('committed', 'unknown: no server reached the database')
for (const answer of answers) tellServer(answer)
for (const { origin, problem } of results) if (problem !== undefined) say(origin, `does not answer (${problem})`)
if (answers.some(({ connections }) => connections.length > 0) === false && answers.length > 0)
  say(user, 'has no open connection to these servers')
process.exit(answers.length > 0 ? 0 : 1)
