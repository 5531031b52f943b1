/**
 * Input field with a list of options below it, as one control. The focus stays in the field, ↑ and
 * ↓ move through the list, Enter chooses an option. All dialogs that search for people, channels or
 * commands use it.
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
  /** Content shown below the field when there are no options. */
  readonly empty: ReactNode
  /** Content shown in the field before the text: an icon, or the people chosen already. */
  readonly before?: ReactNode
  /** Content shown between the field and the list of options. */
  readonly between?: ReactNode
  /**
   * Whether a search for the typed text is still running. If so, Enter waits for its results,
   * unless `isCertain` is true.
   */
  readonly isSearching?: boolean
  /**
   * Whether the first option matches the typed text exactly, so that Enter can choose it at once.
   */
  readonly isCertain?: boolean
  /**
   * Whether the first option is highlighted while the field is empty. If not, Enter in the empty
   * field calls `onSubmit`.
   */
  readonly isLitWhenEmpty?: boolean
  /**
   * Called when Backspace is pressed in an empty field, for instance to remove the last chosen
   * person.
   */
  readonly onErase?: () => void
  /** Called for Control-Enter, and for Enter in an empty field without a highlighted option. */
  readonly onSubmit?: () => void
}

/**
 * Number of options drawn at first. The same number is added each time the user scrolls near the
 * end of the drawn options.
 */
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
  // If the user has moved the highlight, it stays there only until the text changes. Then the first
  // option is highlighted again.
  const hasMoved = moved?.value === value
  const at = Math.min(hasMoved ? moved.to : start, options.length - 1)
  const optionId = (key: string): string => `${id}-${key}`

  useEffect(() => {
    list.current?.querySelector('[aria-selected=true]')?.scrollIntoView({ block: 'nearest' })
  }, [at])

  // If Enter was pressed before the search ended, choose the first result now, unless the user has
  // changed the text since.
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

/**
 * Returns the groups, cut so that they have at most `count` options together. Leaves out groups
 * without options.
 */
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
