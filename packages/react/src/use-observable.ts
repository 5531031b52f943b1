/** Connects the client's observables to React. All other hooks use this one. */
import type { Observable } from '@chorus/client'
import { useSyncExternalStore } from 'react'

/** Returns the current value of an observable, and renders again after every change. */
export function useObservable<Value>(observable: Observable<Value>): Value {
  return useSyncExternalStore(observable.subscribe, observable.get, observable.get)
}

/** Observable that is always undefined, for a hook that was called without an id. */
export const nothing: Observable<undefined> = { get: () => undefined, subscribe: () => () => undefined }
