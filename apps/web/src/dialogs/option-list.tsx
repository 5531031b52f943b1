/**
 * A field with a list of options below it, as one control: the focus stays in the field, ↑ and ↓ move through the list, Enter chooses. Both
 * the search and the choice of people are made of it.
 */
import { useEffect, useId, useRef, useState, type KeyboardEvent, type ReactNode } from 'react'
import { isComposing } from '../ui/keys.ts'
import './option-list.css'

export interface Option {
  readonly key: string
  readonly label: string
  readonly detail?: string
  readonly picture: ReactNode
  readonly onChoose: () => void
}

export interface OptionGroup {
  readonly label: string
  readonly options: readonly Option[]
}

interface OptionFieldProps {
  readonly label: string
  readonly placeholder: string
  readonly value: string
  readonly onValue: (value: string) => void
  readonly groups: readonly OptionGroup[]
  /** Shown in place of the list when it is empty. */
  readonly empty: ReactNode
  /** What stands before the text in the field: an icon, or who is chosen already. */
  readonly before?: ReactNode
  /** Stands between the field and the list. */
  readonly between?: ReactNode
  /** An answer to the present text is under way: Enter waits for it, unless the first option is beyond doubt. */
  readonly isSearching?: boolean
  /** The first option is what the text says, letter by letter. */
  readonly isCertain?: boolean
  /** Nothing is lit while the field is empty, so that Enter submits. */
  readonly isLitWhenEmpty?: boolean
  /** Backspace in an empty field. */
  readonly onErase?: () => void
  /** Control-Enter, or Enter with nothing to choose. */
  readonly onSubmit?: () => void
}

/** Options in the page at first, and how many more come when their end is near. */
const drawnOptions = 60

export function OptionField(props: OptionFieldProps) {
  const { label, placeholder, value, onValue, groups, empty, before, between, onErase, onSubmit } = props
  const { isSearching = false, isCertain = false, isLitWhenEmpty = true } = props
  const id = useId()
  const list = useRef<HTMLDivElement>(null)
  const start = value === '' && !isLitWhenEmpty ? -1 : 0
  const [moved, setMoved] = useState<{ readonly value: string; readonly to: number }>()
  const [drawn, setDrawn] = useState({ value, count: drawnOptions })
  const [awaited, setAwaited] = useState<string>()
  const count = drawn.value === value ? drawn.count : drawnOptions
  const options = groups.flatMap((group) => group.options)
  // Moving belongs to one text: another text lights its own first option.
  const hasMoved = moved?.value === value
  const at = Math.min(hasMoved ? moved.to : start, options.length - 1)
  const optionId = (key: string): string => `${id}-${key}`

  useEffect(() => {
    list.current?.querySelector('[aria-selected=true]')?.scrollIntoView({ block: 'nearest' })
  }, [at])

  // Enter was pressed before the answer came: it chooses the first of the answer, for that text alone.
  const first = options[0]
  useEffect(() => {
    if (awaited === undefined || isSearching) return
    setAwaited(undefined)
    if (awaited === value) first?.onChoose()
  }, [awaited, isSearching, value, first])

  const pressKey = (event: KeyboardEvent<HTMLInputElement>): void => {
    if (isComposing(event.nativeEvent)) return
    const move = (to: number): void => {
      event.preventDefault()
      if (options.length === 0) return
      const next = (to + options.length) % options.length
      setMoved({ value, to: next })
      setDrawn({ value, count: Math.max(count, next + drawnOptions) })
    }
    if (event.key === 'ArrowDown') move(at + 1)
    else if (event.key === 'ArrowUp') move(Math.max(at, 0) - 1)
    else if (event.key === 'Backspace' && value === '') onErase?.()
    else if (event.key === 'Enter') {
      event.preventDefault()
      const option = options[at]
      if (event.ctrlKey || event.metaKey) onSubmit?.()
      else if (isSearching && value.trim() !== '' && !hasMoved && !isCertain) setAwaited(value)
      else if (option === undefined) {
        if (value.trim() === '') onSubmit?.()
      } else option.onChoose()
    }
  }

  const drawMore = (element: HTMLElement): void => {
    if (count >= options.length || element.scrollTop + 2 * element.clientHeight < element.scrollHeight) return
    setDrawn({ value, count: count + drawnOptions })
  }

  let index = -1
  return (
    <>
      <div className='option-field'>
        {before}
        <input
          className='option-input'
          role='combobox'
          aria-label={label}
          aria-expanded={options.length > 0}
          aria-controls={`${id}-list`}
          aria-autocomplete='list'
          aria-activedescendant={options[at] === undefined ? undefined : optionId(options[at].key)}
          aria-busy={isSearching}
          placeholder={placeholder}
          value={value}
          maxLength={100}
          autoFocus
          autoComplete='off'
          autoCapitalize='none'
          spellCheck={false}
          onChange={(event) => onValue(event.currentTarget.value)}
          onKeyDown={pressKey}
        />
      </div>
      {between}
      <div
        ref={list}
        className='option-list scrolls'
        id={`${id}-list`}
        role='listbox'
        aria-label={label}
        onScroll={(event) => drawMore(event.currentTarget)}
      >
        {cut(groups, count).map((group) => (
          <div key={group.label} role='group' aria-label={group.label}>
            <p className='option-group' aria-hidden='true'>
              {group.label}
            </p>
            {group.options.map((option) => {
              index += 1
              const position = index
              return (
                <div
                  key={option.key}
                  id={optionId(option.key)}
                  role='option'
                  aria-selected={position === at}
                  className='option'
                  onPointerMove={() => position !== at && setMoved({ value, to: position })}
                  onClick={option.onChoose}
                >
                  {option.picture}
                  <span className='option-text truncate'>
                    {option.label}
                    {option.detail !== undefined && <span className='option-detail'> {option.detail}</span>}
                  </span>
                </div>
              )
            })}
          </div>
        ))}
      </div>
      {options.length === 0 && <div className='option-empty'>{empty}</div>}
    </>
  )
}

/** The first options of all groups together; groups that are empty then are left out. */
function cut(groups: readonly OptionGroup[], count: number): readonly OptionGroup[] {
  let left = count
  return groups
    .map((group) => {
      const options = group.options.slice(0, left)
      left -= options.length
      return { ...group, options }
    })
    .filter(({ options }) => options.length > 0)
}
