/**
 * Keeps Markdown from hiding parts of a message. Background: chat messages contain paths, sums,
 * code and notes that only look like Markdown. Guarantee: every letter and digit of a message is on
 * the screen or in the address of a link. A Markdown construct that would hide some of them is
 * shown as it was typed. If text is still missing after that, the whole message is shown as it was
 * typed.
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

/** Part of the Markdown processor (unified) that this plugin uses. */
interface Processor {
  readonly data: () => { micromarkExtensions?: unknown[]; fromMarkdownExtensions?: unknown[] }
}

/** Part of the parser's context that the handler of escaped characters uses. */
interface ParserContext {
  readonly stack: Nodes[]
  readonly config: { readonly exit: { readonly data: (this: ParserContext, token: Token) => void } }
}

interface Token {
  readonly start: { readonly offset: number }
}

/**
 * Markdown constructs that are switched off, because they hide typed text: footnotes, entities
 * (`&copy;`), headings underlined by `===` or `---`, and line breaks by a backslash. A footnote
 * definition (`[^1]: …`) is shown as it was typed, like every definition to which no text refers.
 */
const disabled = [
  'gfmFootnoteCall',
  'gfmFootnoteDefinition',
  'gfmPotentialFootnoteCall',
  'characterReference',
  'hardBreakEscape',
  'setextUnderline',
]

/**
 * Returns the Markdown plugin for one message. The plugin needs the source text of the message to
 * show parts of it as they were typed.
 */
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

/**
 * Counts the letters and digits of a text. If the shown message has fewer than its source, text was
 * lost.
 */
const countSigns = (part: string): number => part.match(/[\p{L}\p{N}]/gu)?.length ?? 0

function text(value: string): Text {
  return { type: 'text', value }
}

/** Returns a part of the message as it was typed, but with web addresses as links. */
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
  /**
   * Addresses of the link definitions in the message, by label. Undefined for an unsafe address.
   */
  readonly #addresses = new Map<string, string | undefined>()
  readonly #used = new Set<string>()
  readonly #defined = new Set<string>()
  /**
   * Number of letters and digits of the source that may be missing on the screen, because they
   * belong to link addresses or Markdown marks.
   */
  #hidden = 0

  constructor(source: string, tree: Root) {
    this.#source = source
    this.#collect(tree)
  }

  keepChildren(parent: Parent): void {
    // The cast is safe: `#keep` replaces a node only by nodes that are allowed at the same place.
    parent.children = parent.children.flatMap((child) => this.#keep(child, parent)) as typeof parent.children
  }

  /**
   * Returns whether letters or digits of the message are missing in the tree. This is the last
   * check, after all nodes were treated.
   */
  hasLost(tree: Root): boolean {
    const shown = visibleText(tree)
    return showsNothing(shown) || countSigns(shown) + this.#hidden < countSigns(this.#source)
  }

  #collect(node: Nodes): void {
    if (node.type === 'linkReference' || node.type === 'imageReference') this.#used.add(node.identifier)
    if (node.type === 'definition') {
      // If a label is defined twice, the first definition counts, as in the Markdown renderer.
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
        // Widen the first row of the table to the longest row: the renderer drops cells beyond the
        // number of columns in the first row.
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

  /**
   * Shows a link definition (`[label]: address`) as it was typed, unless a text refers to it. In
   * that case it is hidden, because each such text becomes a link to the address.
   */
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

  /**
   * Treats a web or mail address in running text. Uses the text of the node, because nodes for some
   * addresses have no position in the source.
   */
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

  /**
   * Returns a link with visible text: its label or, if the label is empty, its address. Adds the
   * title of the link to the text, because a tooltip would hide it.
   */
  #linkTo(node: Link | LinkReference | Image | ImageReference, url: string, label: readonly PhrasingContent[]): Link {
    const title =
      'title' in node && typeof node.title === 'string' && node.title !== '' ? [text(` (${node.title})`)] : []
    const shown = label.some((part) => !showsNothing(visibleText(part))) ? label : [text(url)]
    const link: Link = { type: 'link', url, children: [...shown, ...title] }
    this.#hidden += Math.max(0, countSigns(this.#written(node)) - countSigns(visibleText(link)))
    return link
  }

  /**
   * Returns a link as it was typed, so that it is not a link: the brackets, the formatted label and
   * the address.
   */
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
    // Show a code block as it was typed if more than a language name follows the backticks: for
    // "```let x = 1", Markdown would take the code for the name of a language.
    const isNamed = /^[\p{L}\p{N}+#._/-]*$/u.test(node.lang ?? '') && typeof node.meta !== 'string'
    if (!isNamed || showsNothing(node.value)) return [this.#asTyped(node)]
    return [node]
  }

  #keepList(node: List): Nodes[] {
    if (showsNothing(node.children.map(visibleText).join(''))) return [this.#asTyped(node)]
    for (const item of node.children) {
      if (item.checked !== null && item.checked !== undefined) this.#hidden += 1
      // Store the typed number of each list item: the renderer would count up from the number of
      // the first item.
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

/** Returns the text of a node that a reader sees, without pictures and dividing lines. */
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
