/** Runs tasks one after another, in call order. A task that fails does not affect later ones. */

/** Runs a task after all earlier ones and returns its result. */
export type SerialQueue = <Result>(task: () => Promise<Result>) => Promise<Result>

export function createSerialQueue(): SerialQueue {
  let last: Promise<unknown> = Promise.resolve()
  return (task) => {
    const result = last.then(task)
    last = result.catch(() => undefined)
    return result
  }
}
