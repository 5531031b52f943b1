/**
 * Renders a message's Markdown. Loaded on demand. Raw HTML stays text, links follow `link-policy.ts`, pictures become links (they
 * would tell a stranger's server who reads), headings become bold lines (the page has one outline), and nothing reaches innerHTML.
 */
import type { Components } from 'react-markdown'
import ReactMarkdown from 'react-markdown'
import remarkGfm from 'remark-gfm'
import { safeLink } from './link-policy.ts'
import './markdown.css'

type HeadingProps = { readonly children?: React.ReactNode }
const Heading = ({ children }: HeadingProps) => <p className='markdown-heading'>{children}</p>

const components: Components = {
  a({ href, children }) {
    const address = href === undefined ? undefined : safeLink(href)
    if (address === undefined) return <>{children}</>
    return (
      <a href={address} target='_blank' rel='noopener noreferrer'>
        {children}
      </a>
    )
  },
  img({ src, alt }) {
    const address = typeof src === 'string' ? safeLink(src) : undefined
    const label = alt === undefined || alt === '' ? (address ?? 'picture') : alt
    if (address === undefined) return <>{label}</>
    return (
      <a href={address} target='_blank' rel='noopener noreferrer'>
        {label}
      </a>
    )
  },
  h1: Heading,
  h2: Heading,
  h3: Heading,
  h4: Heading,
  h5: Heading,
  h6: Heading,
  input({ checked }) {
    return <span className='markdown-task'>{checked === true ? '☑' : '☐'}</span>
  },
  pre({ children }) {
    return (
      <pre tabIndex={0} role='region' aria-label='Code'>
        {children}
      </pre>
    )
  },
  table({ children }) {
    return (
      <div className='markdown-table' tabIndex={0} role='region' aria-label='Table'>
        <table>{children}</table>
      </div>
    )
  },
}

const remarkPlugins = [remarkGfm]

export function Markdown({ text }: { readonly text: string }) {
  return (
    <div className='markdown'>
      <ReactMarkdown remarkPlugins={remarkPlugins} components={components} urlTransform={(url) => safeLink(url) ?? ''}>
        {text}
      </ReactMarkdown>
    </div>
  )
}
