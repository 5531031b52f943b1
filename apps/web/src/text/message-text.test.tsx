// @vitest-environment happy-dom
import { cleanup, render, screen } from '@testing-library/react'
import { afterEach, describe, expect, it } from 'vitest'
import { MessageText } from './message-text.tsx'

afterEach(cleanup)

describe('the content of a message', () => {
  it('a message without text shows its data as a plain block', () => {
    render(<MessageText text='' data={{ ride: 7 }} />)
    expect(screen.getByText('Content this app can’t show')).toBeDefined()
    expect(screen.getByText('ride').tagName).toBe('DT')
    expect(screen.getByText('7').tagName).toBe('DD')
    expect(screen.getByRole('group')).toHaveProperty('open', true)
  })

  it.each([[[]], [0], [false], ['a string'], [{ '\u200b': '' }]])('a message without text shows data %j', (data) => {
    render(<MessageText text={'\u200b'} data={data} />)
    expect(screen.getByRole('region', { name: 'Data' }).textContent).toBe(JSON.stringify(data, null, 2))
  })

  it('long data of a message is collapsed and cut off', () => {
    render(<MessageText text='' data={'x'.repeat(30_000)} />)
    expect(screen.getByRole('group')).toHaveProperty('open', false)
    expect(document.querySelector('pre')?.textContent?.length).toBeLessThanOrEqual(20_001)
  })

  it('a message with only an attachment shows “Attachment”', () => {
    render(<MessageText text=' ' attachments={['a']} />)
    expect(screen.getByText('Attachment')).toBeDefined()
  })

  it('[CARD2] data that looks like a card is a plain block, also with text', () => {
    const data = { title: 'Gold', fields: { Price: '1 €' }, actions: [{ id: 'pay', label: 'Pay' }] }
    render(<MessageText text='look' data={data} />)
    expect(screen.getByText('look')).toBeDefined()
    expect(screen.getByText('Where this comes from isn’t proven')).toBeDefined()
    expect(screen.getByText('Gold').tagName).toBe('DD')
    expect(screen.queryByRole('button')).toBeNull()
  })

  it('a message with text and data shows only the text', () => {
    const { container } = render(<MessageText text='hello' data={{ a: 1 }} />)
    expect(container.textContent).toBe('hello')
  })
})
