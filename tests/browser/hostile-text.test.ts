/**
 * Text written by users stays text. It adds no element to the page, runs no script, opens no
 * dialog, and sends no request to a foreign server.
 */
import { randomUUID } from 'node:crypto'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { HttpUser, startChromium } from '@chorus/testkit'
import type { ServerProcess } from '@chorus/testkit'
import { startQuickServer } from '../quick-server.ts'
import { password, Person } from './person.ts'

let browser: Browser
let server: ServerProcess

beforeAll(async () => {
  ;[browser, server] = await Promise.all([
    startChromium(),
    startQuickServer({ env: { LIMIT_SENDS: '0', LIMIT_SIGN_INS_ADDRESS: '0' } }),
  ])
})

afterAll(async () => {
  await browser.close()
  await server.remove()
})

const evil = 'http://evil.example:9'

/**
 * Hostile messages. None of them may add an element that `findInjected` does not allow, or an
 * attribute that runs a script.
 */
const hostile = [
  // HTML elements and attributes that run scripts or load resources.
  `<img src=x onerror=alert(1)>`,
  `<img src="${evil}/pixel.png">`,
  `<svg><animate onbegin=alert(1) attributeName=x dur=1s>`,
  `<svg onload=alert(1)>`,
  `<script>alert(1)</script><script src="${evil}/x.js"></script>`,
  `<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=alert(1)&gt;">`,
  `<iframe srcdoc="<script>parent.alert(1)</script>"></iframe>`,
  `<iframe src="${evil}"></iframe><object data="${evil}"></object><embed src="${evil}">`,
  `<form action="${evil}"><input name=q><button>go</button></form>`,
  `<details open ontoggle=alert(1)>`,
  `<style>@import '${evil}/x.css'; body { display: none }</style>`,
  `<link rel=stylesheet href="${evil}/x.css"><base href="${evil}/"><meta http-equiv=refresh content="0;url=${evil}">`,
  `"><img src=x onerror=alert(1)>`,
  `' onmouseover='alert(1)`,
  `\${alert(1)} {{constructor.constructor('alert(1)')()}}`,
  // Links and pictures with dangerous or misleading addresses.
  `[click](javascript:alert(1))`,
  `[click](JaVa\tscript:alert(1))`,
  `[click](&#106;avascript:alert(1))`,
  `[click](vbscript:msgbox(1)) [click](data:text/html,<script>alert(1)</script>) [click](file:///etc/passwd)`,
  `![picture](${evil}/pixel.png) ![picture](javascript:alert(1))`,
  `<javascript:alert(1)> <${evil}/?"onmouseover="alert(1)">`,
  `[a]: javascript:alert(1)\n\n[click][a]`,
  `https://example.com/"onmouseover="alert(1) https://example.com/?<img src=x onerror=alert(1)>`,
  `[click](https://user:pw@evil.example:9/ "onmouseover=alert(1)")`,
  // HTML in code blocks and in code.
  '```js" onmouseover="alert(1)\nalert(1)\n```',
  '```<img src=x onerror=alert(1)>\n<b>x</b>\n```',
  '`<img src=x onerror=alert(1)>`',
  // Elements whose names hide properties of the page, and HTML in mentions and emoji names.
  `<a id=__config name=__config href="${evil}">x</a><form id=documentElement>`,
  `<img name=cookie><a id=chat><a id=chat name=x href=1>`,
  `@<img src=x onerror=alert(1)> :<img src=x onerror=alert(1)>: #<svg onload=alert(1)>`,
  // Text that changes its direction, or is expensive or hard to render.
  `\u202e gnp.exe \u2066 hidden \u2069`,
  `${'\u0300'.repeat(2_000)}a`,
  'a'.repeat(20_000),
  `${'> '.repeat(500)}deep`,
  `${'- '.repeat(300)}deep`,
  `${'*'.repeat(5_000)}`,
  `${'['.repeat(2_000)}${'](x)'.repeat(2_000)}`,
  `|${'a|'.repeat(300)}\n|${'-|'.repeat(300)}\n|${'b|'.repeat(300)}`,
  `\ufdfd\u{12427} \u{1f468}\u200d\u{1f469}\u200d\u{1f467} \u0645\u0631\u062d\u0628\u0627`,
  `<!--`,
  `]]>`,
  `</textarea></div></article></body></html>`,
]

const names = [
  `<img src=x onerror=alert(1)>`,
  `"><svg onload=alert(1)>`,
  `{{7*7}}\${7*7}`,
  `</title><script>alert(1)</script>`,
]

it('[BAD1] hostile text stays plain text', async () => {
  const reader = await Person.signUp(browser, server.url, 'A Reader')
  const { id: readerId } = await HttpUser.signIn(server.url, reader.handle, password)
  const writers: HttpUser[] = []
  for (const name of names) writers.push(await HttpUser.signUp(server.url, { name }))
  const [writer] = writers as [HttpUser]
  await expect(HttpUser.signUp(server.url, { name: 'evil\u202egnp' })).rejects.toThrow(/400/)
  await expect(HttpUser.signUp(server.url, { handle: '<img>' })).rejects.toThrow(/400/)

  for (const other of writers) await other.createConversation('direct', [readerId])
  await writer.createConversation('channel', [], `</title><img src=x onerror=alert(2)> ${randomUUID().slice(0, 8)}`)

  // Returns everything in the page that hostile text has added: elements that messages may not
  // contain, and attributes that run a script. This function runs in the page.
  const findInjected = (): string[] => {
    const allowed = new Set(
      'P BR SPAN STRONG EM DEL CODE PRE A UL OL LI BLOCKQUOTE H1 H2 H3 H4 H5 H6 HR TABLE THEAD TBODY TR TH TD DIV SUP SUB INPUT'.split(
        ' ',
      ),
    )
    const found: string[] = []
    for (const element of document.querySelectorAll('.message-text *')) {
      if (!allowed.has(element.tagName)) found.push(`element ${element.outerHTML.slice(0, 120)}`)
      if (element.tagName === 'INPUT' && element.getAttribute('type') !== 'checkbox') found.push('an input')
    }
    for (const element of document.querySelectorAll('*')) {
      for (const { name, value } of element.attributes) {
        if (name.startsWith('on')) found.push(`${name} on ${element.tagName}`)
        if (['href', 'src', 'action', 'formaction', 'xlink:href', 'data', 'srcdoc'].includes(name)) {
          const address = value.replace(/[\u0000-\u0020]/g, '').toLowerCase()
          if (/^(javascript|vbscript|data:text|file):/.test(address)) found.push(`${name}=${value}`)
        }
      }
      if (element.tagName === 'A' && element.closest('.message-text') !== null) {
        const rel = element.getAttribute('rel') ?? ''
        if (element.getAttribute('target') === '_blank' && !rel.includes('noopener') && !rel.includes('noreferrer'))
          found.push(`a link without noopener: ${element.outerHTML}`)
      }
      if (['SCRIPT', 'IFRAME', 'OBJECT', 'EMBED', 'BASE', 'MATH', 'FRAME'].includes(element.tagName)) {
        const isOurs = element.tagName === 'SCRIPT' && (element as HTMLScriptElement).src.startsWith(location.origin)
        if (!isOurs) found.push(`element ${element.outerHTML.slice(0, 120)}`)
      }
    }
    if ('__config' in window) found.push('window.__config is clobbered')
    return found
  }

  await reader.item(names[0]!).first().waitFor()
  // Send three messages at a time, in a new conversation each time, so that all three are on the
  // screen.
  for (let from = 0; from < hostile.length; from += 3) {
    const group = await writer.createConversation(
      'group',
      [readerId, ...writers.slice(1).map(({ id }) => id)],
      names[0],
    )
    for (const [index, text] of hostile.slice(from, from + 3).entries()) await writers[index]!.send(group, text)
    const { seq } = await writer.send(group, `barrier ${from}`)
    await reader.page.goto(`/c/${group}`)
    await reader.page
      .locator(`[data-seq="${seq - 3}"], [data-seq="${seq}"]`)
      .first()
      .waitFor({ state: 'attached' })
    expect(await reader.page.evaluate(findInjected), `from ${from}`).toEqual([])
    await reader.sees(`barrier ${from}`)
    expect(await reader.page.evaluate(findInjected), `from ${from}`).toEqual([])
    expect(reader.surprises, `from ${from}`).toEqual([])
  }

  // The reader sends a hostile text through the composer, and quotes one in a reply.
  await reader.write(hostile[0]!)
  await reader.sees('onerror=alert(1)')
  await reader.choose('onerror=alert(1)', 'Reply')
  await reader.write('a reply to it')
  await reader.sees('a reply to it')
  await reader.page.reload()
  await reader.page.locator('textarea.composer-text').waitFor()
  expect(await reader.page.evaluate(findInjected)).toEqual([])

  // Hostile names in the search results and in the title of the page.
  await reader.page.keyboard.press('Control+k')
  for (const query of ['<img', '">', '{{7', '</title']) {
    await reader.page.getByRole('combobox').fill(query)
    await reader.page.getByRole('option').first().waitFor()
    expect(await reader.page.evaluate(findInjected)).toEqual([])
  }
  await reader.page.keyboard.press('Escape')
  expect(await reader.page.title()).toContain('<img src=x onerror=alert(1)>')
  expect(await reader.page.evaluate(() => document.querySelectorAll('title').length)).toBe(1)
  expect(reader.surprises).toEqual([])
  await reader.leave()
})
