// @vitest-environment happy-dom
import { cleanup, render, screen } from '@testing-library/react'
import { afterEach, describe, expect, it } from 'vitest'
import { MessageText } from './message-text.tsx'

afterEach(cleanup)

describe('text of a message', () => {
  it('shows data without text as a plain block', () => {
    render(<MessageText text='' data={{ ride: 7 }} />)
    expect(screen.getByText('Content this app can’t show')).toBeDefined()
    expect(screen.getByRole('region', { name: 'Data' }).textContent).toBe('{\n  "ride": 7\n}')
    expect(screen.getByRole('group')).toHaveProperty('open', true)
  })

  it.each([[[]], [0], [false], ['a string'], [{ '\u200b': '' }]])('shows data %j', (data) => {
    render(<MessageText text={'\u200b'} data={data} />)
    expect(screen.getByRole('region', { name: 'Data' }).textContent).toBe(JSON.stringify(data, null, 2))
  })

  it('collapses long data and limits its shown length', () => {
    render(<MessageText text='' data={'x'.repeat(30_000)} />)
    expect(screen.getByRole('group')).toHaveProperty('open', false)
    expect(document.querySelector('pre')?.textContent?.length).toBeLessThanOrEqual(20_001)
  })

  it('shows an attachment without text', () => {
    render(<MessageText text=' ' attachments={['a']} />)
    expect(screen.getByText('Attachment')).toBeDefined()
  })

  it('shows only the text when there is one', () => {
    const { container } = render(<MessageText text='hello' data={{ a: 1 }} />)
    expect(container.textContent).toBe('hello')
  })
})
