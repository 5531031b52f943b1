/**
 * Makes the schedule of faults from the seed alone: kinds, targets and durations. Independent
 * random draws could repeat one kind many times in a short run. So the kinds come from a shuffled
 * list, which is used up before the next list is shuffled.
 */
import type { Drawn, Fault, LabShape } from '../faults/fault.ts'
import type { Random } from '../random/random.ts'

export interface ScheduledFault {
  readonly id: number
  readonly fault: Fault
  readonly drawn: Drawn
  /** Time without faults before this fault. */
  readonly afterMs: number
}

/** Number of times that a fault of weight 1 is in each shuffled list. */
const copiesPerWeight = 5
const longOnlyCopies = 2

export function makeSchedule(
  random: Random,
  faults: readonly Fault[],
  count: number,
  shape: LabShape,
): readonly ScheduledFault[] {
  const bag: Fault[] = faults.flatMap((fault) => {
    const copies = fault.weight > 0 ? Math.round(fault.weight * copiesPerWeight) : shape.isLong ? longOnlyCopies : 0
    return Array.from({ length: copies }, () => fault)
  })
  if (bag.length === 0) throw new Error('unable to make a schedule; there is no fault to choose from')
  let left: Fault[] = []
  return Array.from({ length: count }, (_, index) => {
    if (left.length === 0) left = random.shuffle(bag)
    const fault = left.pop() as Fault
    return { id: index + 1, fault, drawn: fault.draw(random, shape), afterMs: random.int(100, 600) }
  })
}

export function describeScheduled({ id, fault, drawn }: ScheduledFault): string {
  const lasts = drawn.forMs === 0 ? '' : ` for ${drawn.forMs} ms`
  return `${String(id).padStart(4)} ${fault.kind.padEnd(4)}${fault.name}: ${drawn.targets.join(', ')}${lasts}`
}
