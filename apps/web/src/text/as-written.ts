/**
 * Keeps Markdown from losing what was written. Chat is not a document: people write paths, sums, code and notes that only look
 * like Markdown. The rule: every letter, digit and sign of a message is on the screen or is the address of a link. A construct that
 * would break it is shown as it was typed; where that cannot be done, so is the whole message.
 */
import type {
  BlockContent,
  Code,
  Definition,
  Delete,
  Emphasis,
  Image,
  ImageReference,
  Link,
  LinkReference,
  List,
  Nodes,
  Parent,
  PhrasingContent,
  Root,
  Strong,
  Text,
} from 'mdast'
import type { Options } from 'react-markdown'
import { hidesBackslash, sharesWord, trimLink } from './marks.ts'
import { safeLink } from './link-policy.ts'
import { showsNothing } from './plain-text.ts'

type Plugin = NonNullable<Options['remarkPlugins']>[number]

/** The part of a processor that a plugin needs. */
interface Processor {
  readonly data: () => { micromarkExtensions?: unknown[]; fromMarkdownExtensions?: unknown[] }
}

/** The part of the parser's context that one handler needs. */
interface ParserContext {
  readonly stack: Nodes[]
  readonly config: { readonly exit: { readonly data: (this: ParserContext, token: Token) => void } }
}

interface Token {
  readonly start: { readonly offset: number }
}

/**
 * Constructs that hide what was written: notes at the end of a document, entities, underlined headings and line breaks by a backslash.
 * Definitions with a `^` are shown as they were typed, like all that nothing refers to.
 */
const disabled = [
  'gfmFootnoteCall',
  'gfmFootnoteDefinition',
  'gfmPotentialFootnoteCall',
  'characterReference',
  'hardBreakEscape',
  'setextUnderline',
]

/** The plugin for one message; it needs the source to show a part of it as it was typed. */
export function keepAsWritten(source: string): Plugin {
  function asWritten(this: Processor) {
    const data = this.data()
    ;(data.micromarkExtensions ??= []).push({ disable: { null: disabled } })
    ;(data.fromMarkdownExtensions ??= []).push({
      exit: {
        characterEscapeValue(this: ParserContext, token: Token) {
          const tail = this.stack.at(-1)
          const isInCell = this.stack.some(({ type }) => type === 'tableCell')
          if (tail !== undefined && 'value' in tail && !hidesBackslash(source, token.start.offset - 1, isInCell))
            tail.value += '\\'
          this.config.exit.data.call(this, token)
        },
      },
    })
    return (tree: Root): void => {
      const keeper = new Keeper(source, tree)
      keeper.keepChildren(tree)
      if (keeper.hasLost(tree)) tree.children = [{ type: 'paragraph', children: typed(source) }]
    }
  }
  return asWritten as unknown as Plugin
}

/** Letters and digits: what may be lost of them is counted. */
const countSigns = (part: string): number => part.match(/[\p{L}\p{N}]/gu)?.length ?? 0

function text(value: string): Text {
  return { type: 'text', value }
}

/** A part as it was typed, in which addresses are links all the same. */
function typed(source: string): PhrasingContent[] {
  return source.split(/(https?:\/\/[^\s<>]+)/gi).flatMap((part, index): PhrasingContent[] => {
    if (index % 2 === 0) return part === '' ? [] : [text(part)]
    const kept = trimLink(part)
    const url = safeLink(kept)
    if (url === undefined) return [text(part)]
    return [{ type: 'link', url, children: [text(kept)] }, text(part.slice(kept.length))]
  })
}

class Keeper {
  readonly #source: string
  /** By label. Undefined where the address is not safe. */
  readonly #addresses = new Map<string, string | undefined>()
  readonly #used = new Set<string>()
  readonly #defined = new Set<string>()
  /** Letters and digits of addresses and marks, which need not be seen. */
  #hidden = 0

  constructor(source: string, tree: Root) {
    this.#source = source
    this.#collect(tree)
  }

  keepChildren(parent: Parent): void {
    // A node gives way to nodes that are allowed in its place.
    parent.children = parent.children.flatMap((child) => this.#keep(child, parent)) as typeof parent.children
  }

  /** The net below all rules. */
  hasLost(tree: Root): boolean {
    const shown = visibleText(tree)
    return showsNothing(shown) || countSigns(shown) + this.#hidden < countSigns(this.#source)
  }

  #collect(node: Nodes): void {
    if (node.type === 'linkReference' || node.type === 'imageReference') this.#used.add(node.identifier)
    if (node.type === 'definition') {
      // The first definition of a label counts, here as in the renderer.
      if (!this.#addresses.has(node.identifier)) this.#addresses.set(node.identifier, safeLink(node.url))
    } else if ('children' in node) for (const child of node.children) this.#collect(child)
  }

  #written({ position }: Nodes): string {
    return this.#source.slice(position?.start.offset ?? 0, position?.end.offset ?? 0)
  }

  #asTyped(node: Nodes): BlockContent {
    return { type: 'paragraph', children: typed(this.#written(node)) }
  }

  #keep(node: Nodes, parent: Parent): Nodes[] {
    switch (node.type) {
      case 'definition':
        return this.#keepDefinition(node)
      case 'linkReference':
      case 'imageReference':
        return this.#keepReference(node)
      case 'link':
        return this.#keepLink(node)
      case 'image': {
        const address = safeLink(node.url)
        if (address === undefined) return [text(this.#written(node))]
        return [this.#linkTo(node, address, showsNothing(node.alt ?? '') ? [] : [text(node.alt ?? '')])]
      }
      case 'emphasis':
      case 'strong':
      case 'delete':
        return this.#keepMarks(node)
      case 'html':
        return isPhrasing(parent) ? [text(node.value)] : [{ type: 'paragraph', children: [text(node.value)] }]
      case 'break':
        return [text('\n')]
      case 'code':
        return this.#keepCode(node)
      case 'heading':
      case 'blockquote':
        if (showsNothing(visibleText(node))) return [this.#asTyped(node)]
        this.keepChildren(node)
        return [node]
      case 'list':
        return this.#keepList(node)
      case 'table': {
        // The renderer leaves out cells beyond the first row's.
        const columns = Math.max(...node.children.map(({ children }) => children.length))
        node.align = Array.from({ length: columns }, (_, column) => node.align?.[column] ?? null)
        this.keepChildren(node)
        return [node]
      }
      default:
        if ('children' in node) this.keepChildren(node)
        return [node]
    }
  }

  /** References become links of their own, so a definition that one uses has done its work. */
  #keepDefinition(node: Definition): Nodes[] {
    const isFirst = !this.#defined.has(node.identifier)
    this.#defined.add(node.identifier)
    if (!isFirst || !this.#used.has(node.identifier) || safeLink(node.url) === undefined) return [this.#asTyped(node)]
    this.#hidden += countSigns(this.#written(node))
    return []
  }

  #keepReference(node: LinkReference | ImageReference): Nodes[] {
    const address = this.#addresses.get(node.identifier)
    if (node.type === 'imageReference') {
      if (address === undefined) return [text(this.#written(node))]
      return [this.#linkTo(node, address, [text(node.alt ?? '')])]
    }
    return address === undefined ? this.#unwrap(node) : this.#linkAround(node, address)
  }

  #keepLink(node: Link): Nodes[] {
    const written = this.#written(node)
    const address = safeLink(node.url)
    if (!written.startsWith('[') && !written.startsWith('<')) return this.#keepAddress(node)
    if (written.startsWith('<')) return address === undefined ? [text(written)] : [node]
    return address === undefined ? this.#unwrap(node) : this.#linkAround(node, address)
  }

  /** An address in running text. Its node has no position where the renderer found it late. */
  #keepAddress(node: Link): Nodes[] {
    const written = visibleText(node)
    const kept = trimLink(written)
    const prefix = node.url.endsWith(written) ? node.url.slice(0, node.url.length - written.length) : ''
    const address = kept === '' ? undefined : safeLink(prefix + kept)
    if (address === undefined) return [text(written)]
    const link: Link = { type: 'link', url: address, children: [text(kept)] }
    return kept === written ? [link] : [link, text(written.slice(kept.length))]
  }

  #linkAround(node: Link | LinkReference, address: string): Nodes[] {
    this.keepChildren(node)
    return [this.#linkTo(node, address, node.children)]
  }

  /** A link that shows something: its label, or else its address; and its title, which a tooltip would hide. */
  #linkTo(node: Link | LinkReference | Image | ImageReference, url: string, label: readonly PhrasingContent[]): Link {
    const title =
      'title' in node && typeof node.title === 'string' && node.title !== '' ? [text(` (${node.title})`)] : []
    const shown = label.some((part) => !showsNothing(visibleText(part))) ? label : [text(url)]
    const link: Link = { type: 'link', url, children: [...shown, ...title] }
    this.#hidden += Math.max(0, countSigns(this.#written(node)) - countSigns(visibleText(link)))
    return link
  }

  /** The label between the marks that were written. */
  #unwrap(node: Link | LinkReference): Nodes[] {
    const last = node.children.at(-1)
    const labelEnd = last?.position?.end.offset
    const { position } = node
    this.keepChildren(node)
    if (position?.end.offset === undefined || labelEnd === undefined) return [text(this.#written(node))]
    return [text('['), ...node.children, text(this.#source.slice(labelEnd, position.end.offset))]
  }

  #keepMarks(node: Emphasis | Strong | Delete): Nodes[] {
    this.keepChildren(node)
    const [start, end] = [node.position?.start.offset, node.position?.end.offset]
    if (start === undefined || end === undefined) return [node]
    const marker = this.#source.charAt(start).repeat(node.type === 'emphasis' ? 1 : 2)
    if (!sharesWord(this.#source, start, end, marker)) return [node]
    return [text(marker), ...node.children, text(marker)]
  }

  #keepCode(node: Code): Nodes[] {
    // "```let x = 1" would take the code for the name of its language.
    const isNamed = /^[\p{L}\p{N}+#._/-]*$/u.test(node.lang ?? '') && typeof node.meta !== 'string'
    if (!isNamed || showsNothing(node.value)) return [this.#asTyped(node)]
    return [node]
  }

  #keepList(node: List): Nodes[] {
    if (showsNothing(node.children.map(visibleText).join(''))) return [this.#asTyped(node)]
    for (const item of node.children) {
      if (item.checked !== null && item.checked !== undefined) this.#hidden += 1
      // The renderer would count from the first number, whatever the others say.
      const number = /^\d+[.)]/.exec(this.#written(item))?.[0]
      if (number !== undefined) item.data = { hProperties: { 'data-number': number } }
    }
    this.keepChildren(node)
    return [node]
  }
}

function isPhrasing({ type }: Parent): boolean {
  return ['paragraph', 'heading', 'emphasis', 'strong', 'delete', 'link', 'linkReference', 'tableCell'].includes(type)
}

/** What a reader sees of a tree, without pictures and lines. */
function visibleText(node: Nodes): string {
  switch (node.type) {
    case 'definition':
      return ''
    case 'code':
      return `${node.lang ?? ''} ${node.value}`
    case 'listItem': {
      const number: unknown = (node.data as { hProperties?: Record<string, unknown> } | undefined)?.hProperties?.[
        'data-number'
      ]
      return `${typeof number === 'string' ? number : ''} ${node.children.map(visibleText).join(' ')}`
    }
    default:
      if ('children' in node) return node.children.map(visibleText).join('')
      return 'value' in node ? node.value : ''
  }
}
