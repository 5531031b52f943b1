/** The one bridge between the client's observables and React; every other hook is a name for a use of it. */
import type { Observable } from '@chorus/client'
import { useSyncExternalStore } from 'react'

/** The value of any observable of the client, now and after every change. */
export function useObservable<Value>(observable: Observable<Value>): Value {
  return useSyncExternalStore(observable.subscribe, observable.get, observable.get)
}

/** Stands in for an observable of something that is not named yet. */
export const nothing: Observable<undefined> = { get: () => undefined, subscribe: () => () => undefined }
