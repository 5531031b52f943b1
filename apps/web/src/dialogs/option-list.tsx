/**
 * A field with a list of options below it, as one control: the focus stays in the field, ↑ and ↓ move through the list, Enter chooses. Both
 * the search and the choice of people are made of it.
 */
import { useEffect, useId, useRef, useState, type KeyboardEvent, type ReactNode } from 'react'
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
  /** Backspace in an empty field. */
  readonly onErase?: () => void
  /** Control-Enter, or Enter with nothing to choose. */
  readonly onSubmit?: () => void
}

export function OptionField(props: OptionFieldProps) {
  const { label, placeholder, value, onValue, groups, empty, before, onErase, onSubmit } = props
  const id = useId()
  const list = useRef<HTMLDivElement>(null)
  const [active, setActive] = useState(0)
  const options = groups.flatMap((group) => group.options)
  const at = Math.min(active, options.length - 1)
  const optionId = (key: string): string => `${id}-${key}`

  useEffect(() => setActive(0), [value])
  useEffect(() => {
    list.current?.querySelector('[aria-selected=true]')?.scrollIntoView({ block: 'nearest' })
  }, [at])

  const pressKey = (event: KeyboardEvent<HTMLInputElement>): void => {
    if (event.nativeEvent.isComposing) return
    const move = (to: number): void => {
      event.preventDefault()
      if (options.length > 0) setActive((to + options.length) % options.length)
    }
    if (event.key === 'ArrowDown') move(at + 1)
    else if (event.key === 'ArrowUp') move(at - 1)
    else if (event.key === 'Backspace' && value === '') onErase?.()
    else if (event.key === 'Enter') {
      event.preventDefault()
      const option = options[at]
      if (option === undefined || event.ctrlKey || event.metaKey) onSubmit?.()
      else option.onChoose()
    }
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
      <div ref={list} className='option-list scrolls' id={`${id}-list`} role='listbox' aria-label={label}>
        {groups
          .filter((group) => group.options.length > 0)
          .map((group) => (
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
                    onPointerMove={() => setActive(position)}
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
