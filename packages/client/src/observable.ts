/**
 * A value that changes, in the shape `useSyncExternalStore` wants: a stable snapshot and a subscription. Listeners are
 * told once per microtask however often the value was set in it, so a burst of changes renders once.
 */

import { guarded, logError } from './guarded.ts'

/**
 * A value that changes over time.
 *
 * `get` and `subscribe` need no `this`, so they can be handed straight to React:
 *
 * ```ts
 * const items = useSyncExternalStore(messages.view.subscribe, messages.view.get)
 * ```
 */
export interface Observable<Value> {
  /** The value now. The same reference until it changes. */
  readonly get: () => Value
  /** Calls the listener after the value changed (at most once per microtask) until the returned function is called. */
  readonly subscribe: (listener: () => void) => () => void
}

/** An observable whose owner sets it. */
export interface Cell<Value> extends Observable<Value> {
  readonly set: (value: Value) => void
  /** How many listeners there are now. */
  readonly watchers: () => number
}

export interface CellOptions {
  /** Called when the first listener comes. */
  readonly onWatched?: () => void
  /** Called when the last listener has gone. */
  readonly onUnwatched?: () => void
  /** Called with what a listener throws or rejects with; the other listeners still run. Default: `console.error`. */
  readonly onError?: ((error: unknown) => void) | undefined
}

/** Makes a cell that holds a value. */
export function createCell<Value>(initial: Value, options: CellOptions = {}): Cell<Value> {
  let value = initial
  const listeners = createListeners(options)
  return {
    get: () => value,
    subscribe: listeners.subscribe,
    set: (next) => {
      if (Object.is(value, next)) return
      value = next
      listeners.notify()
    },
    watchers: listeners.count,
  }
}

/** An observable that is computed when somebody asks: `invalidate` says that the answer may have changed. */
export interface ComputedCell<Value> extends Observable<Value> {
  readonly invalidate: () => void
  readonly watchers: () => number
}

/** Makes a cell whose value is computed on demand and kept until it is invalidated. */
export function createComputedCell<Value>(compute: () => Value, options: CellOptions = {}): ComputedCell<Value> {
  let cached: { readonly value: Value } | undefined
  const listeners = createListeners(options)
  return {
    get: () => {
      cached ??= { value: compute() }
      return cached.value
    },
    subscribe: listeners.subscribe,
    invalidate: () => {
      cached = undefined
      listeners.notify()
    },
    watchers: listeners.count,
  }
}

/** An observable that shows another one, which may change. */
export interface Switch<Value> extends Observable<Value> {
  readonly point: (target: Observable<Value> | undefined) => void
}

/** Makes an observable that shows its target, or `empty` while there is none. */
export function createSwitch<Value>(empty: Value, options: CellOptions = {}): Switch<Value> {
  let target: Observable<Value> | undefined
  let unfollow: () => void = () => undefined
  const listeners = createListeners(options)
  return {
    // The target's snapshots are stable, so there is nothing to keep here.
    get: () => (target === undefined ? empty : target.get()),
    subscribe: listeners.subscribe,
    point: (next) => {
      unfollow()
      target = next
      unfollow = next?.subscribe(listeners.notifyNow) ?? (() => undefined)
      listeners.notify()
    },
  }
}

/** An observable computed from another one; computed again only when that has changed. */
export function derive<From, To>(source: Observable<From>, compute: (value: From) => To): Observable<To> {
  let cached: { readonly from: From; readonly to: To } | undefined
  return {
    get: () => {
      const from = source.get()
      if (cached === undefined || !Object.is(cached.from, from)) cached = { from, to: compute(from) }
      return cached.to
    },
    subscribe: source.subscribe,
  }
}

function createListeners({ onWatched, onUnwatched, onError = logError }: CellOptions) {
  // Each subscription is an object of its own, so that one function subscribed twice counts twice.
  const subscriptions = new Set<{ readonly listener: () => void }>()
  let isScheduled = false
  const flush = (): void => {
    isScheduled = false
    for (const subscription of [...subscriptions]) {
      if (subscriptions.has(subscription)) guarded(subscription.listener, onError)
    }
  }
  return {
    count: () => subscriptions.size,
    /** For those who are told in a microtask already. */
    notifyNow: flush,
    notify: () => {
      if (isScheduled || subscriptions.size === 0) return
      isScheduled = true
      queueMicrotask(flush)
    },
    subscribe: (listener: () => void) => {
      const subscription = { listener }
      subscriptions.add(subscription)
      if (subscriptions.size === 1) onWatched?.()
      return () => {
        if (subscriptions.delete(subscription) && subscriptions.size === 0) onUnwatched?.()
      }
    },
  }
}
