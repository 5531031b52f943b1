/**
 * A value that changes over time, in the shape that React's `useSyncExternalStore` expects: a
 * stable snapshot and a subscription. Listeners run once per microtask, however often the value was
 * set, so a burst of changes renders once.
 */

import { guarded, logError } from './guarded.ts'

/**
 * A value that changes over time.
 *
 * `get` and `subscribe` do not use `this`, so they can be passed directly to React:
 *
 * ```ts
 * const items = useSyncExternalStore(messages.view.subscribe, messages.view.get)
 * ```
 */
export interface Observable<Value> {
  /** Returns the current value. The reference stays the same until the value changes. */
  readonly get: () => Value
  /**
   * Calls the listener after each change of the value, at most once per microtask and without
   * arguments. Returns a function that unsubscribes. The first subscription may start loading data
   * or watching presence.
   */
  readonly subscribe: (listener: () => void) => () => void
}

/** An observable that its owner can set. */
export interface Cell<Value> extends Observable<Value> {
  readonly set: (value: Value) => void
  /** Returns the current number of listeners. */
  readonly watchers: () => number
}

export interface CellOptions {
  /** Called when the first listener subscribes. */
  readonly onWatched?: () => void
  /** Called when the last listener unsubscribes. */
  readonly onUnwatched?: () => void
  /**
   * Called with an error that a listener throws or rejects with. Other listeners still run.
   * Default: `console.error`.
   */
  readonly onError?: ((error: unknown) => void) | undefined
}

/** Creates a cell with an initial value. */
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

/** An observable whose value is computed on demand. `invalidate` marks the value as outdated. */
export interface ComputedCell<Value> extends Observable<Value> {
  readonly invalidate: () => void
  readonly watchers: () => number
}

/** Creates a cell whose value is computed on demand and cached until it is invalidated. */
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

/** An observable that shows the value of a target observable. The target can be replaced. */
export interface Switch<Value> extends Observable<Value> {
  readonly point: (target: Observable<Value> | undefined) => void
}

/** Creates an observable that shows its target's value, or `empty` while there is no target. */
export function createSwitch<Value>(empty: Value, options: CellOptions = {}): Switch<Value> {
  let target: Observable<Value> | undefined
  let unfollow: () => void = () => undefined
  const listeners = createListeners(options)
  return {
    // The target returns the same object until its value changes, so no cache is needed here.
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

/**
 * Creates an observable computed from another one. Computes again only when the source value has
 * changed.
 */
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
  // Each subscription is its own object, so that the same function can subscribe twice.
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
    /** Runs the listeners at once instead of in a new microtask. Called only from a microtask. */
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
