/**
 * Writes the content of mails, as text and as HTML. Texts by users are treated as data: they are
 * escaped in HTML, reduced to one line where needed, shortened, and stripped of characters
 * that reverse the text direction.
 */
import { showsSomething, toOneLine } from '@chorus/protocol'

export const mailTextLimits = { conversationsMax: 20, lineMaxChars: 140, nameMaxChars: 60 } as const

export interface ConversationNews {
  readonly conversation: string
  readonly kind: string
  readonly name: string
  readonly unread: number
  readonly lines: readonly { readonly sender: string; readonly text: string }[]
}

export interface MailText {
  readonly subject: string
  readonly text: string
  readonly html: string
}

export interface DigestLinks {
  readonly publicUrl: string
  readonly unsubscribe: string
}

export function writeDigest(all: readonly ConversationNews[], { publicUrl, unsubscribe }: DigestLinks): MailText {
  const shown = all.slice(0, mailTextLimits.conversationsMax)
  const unread = all.reduce((sum, news) => sum + news.unread, 0)
  const rest = all.length - shown.length
  const subject = `${count(unread, 'unread message')} in ${titles(shown, rest)}`
  const more = rest > 0 ? `and ${count(rest, 'more conversation')}` : ''
  const leave = 'You get this mail because you asked for a digest of missed messages.'
  const blocks = shown.map((news) => {
    const hidden = news.unread - news.lines.length
    return {
      title: titleOf(news),
      link: `${publicUrl}/c/${news.conversation}`,
      lines: news.lines.map(({ sender, text }) => ({
        sender: showsSomething(sender) ? clean(sender, mailTextLimits.nameMaxChars) : 'a member',
        text: clean(firstLine(text), mailTextLimits.lineMaxChars),
      })),
      hidden: hidden > 0 ? `${count(hidden, 'earlier message')}` : '',
    }
  })
  const text = [
    ...blocks.map(({ title, link, lines, hidden }) =>
      [
        title,
        ...(hidden === '' ? [] : [`  ${hidden}`]),
        ...lines.map((line) => `  ${line.sender}: ${line.text}`),
        `  ${link}`,
      ].join('\n'),
    ),
    ...(more === '' ? [] : [more]),
    `-- \n${leave} Unsubscribe: ${unsubscribe}`,
  ].join('\n\n')
  const html = page(
    blocks
      .map(
        ({ title, link, lines, hidden }) =>
          `<h2 style="font-size:16px;margin:24px 0 4px"><a href="${escape(link)}">${escape(title)}</a></h2>` +
          (hidden === '' ? '' : `<p style="margin:2px 0;color:#666">${escape(hidden)}</p>`) +
          lines
            .map((line) => `<p style="margin:2px 0"><b>${escape(line.sender)}</b> ${escape(line.text)}</p>`)
            .join(''),
      )
      .join('') +
      (more === '' ? '' : `<p>${escape(more)}</p>`) +
      `<p style="margin-top:32px;color:#666;font-size:12px">${leave} ` +
      `<a href="${escape(unsubscribe)}">Unsubscribe</a></p>`,
  )
  return { subject, text, html }
}

export function writeConfirmation(link: string): MailText {
  const lines = [
    'Someone, probably you, asked for mail at this address about missed messages.',
    'The link works once, within one day. If this was not you, ignore this mail: you will get no others.',
  ]
  return {
    subject: 'Confirm your address',
    text: `${lines[0]}\n\nConfirm: ${link}\n\n${lines[1]}`,
    html: page(`<p>${lines[0]}</p><p><a href="${escape(link)}">Confirm this address</a></p><p>${lines[1]}</p>`),
  }
}

function page(content: string): string {
  return `<!doctype html><html lang="en"><meta charset="utf-8"><body style="font-family:sans-serif;font-size:14px;line-height:1.5">${content}</body></html>`
}

function titles(shown: readonly ConversationNews[], rest: number): string {
  const named = shown.slice(0, 3).map((news) => titleOf(news))
  const others = shown.length - named.length + rest
  return others > 0 ? `${named.join(', ')} and ${others} more` : named.join(', ')
}

function titleOf({ name }: ConversationNews): string {
  return showsSomething(name) ? clean(name, mailTextLimits.nameMaxChars) : 'a conversation'
}

function firstLine(text: string): string {
  const lines = text.trim().split(/[\n\v\f\r\u0085\u2028\u2029]+/u)
  const first = lines.findIndex((line) => showsSomething(line))
  if (first === -1) return '(attachment)'
  const line = lines[first] ?? ''
  return first === lines.length - 1 ? line : `${line} …`
}

/**
 * Reduces a text to one line without characters that change its direction, and shortens it
 * between two characters.
 */
function clean(text: string, maxChars: number): string {
  const line = toOneLine(text)
  const characters = [...line]
  return characters.length <= maxChars ? line : `${characters.slice(0, maxChars - 1).join('')}…`
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`
}

export function escape(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;')
}
