/**
 * Keeps the reading position of the message list stable (rule READ1). Background: rows are added,
 * removed and resized, the window changes its size, a bar appears above the list. Browsers preserve
 * the reading position in only some of these cases, and Safari in none. So this class stores the
 * reading position as a `Place`: either the end of the list, or the row being read and its distance
 * from the top of the window. Only scrolling changes this place. After every other change, the
 * scroll offset is corrected before the next paint.
 */
import { RowHeights, type RowRange } from './message-list-layout.ts'

/**
 * Maximum distance from the end of the list at which the list counts as scrolled to its end. At
 * this distance, the last line is still visible.
 */
export const atEndPx = 30
/** Rows closer than this to the visible part of the list must be in the DOM. */
const neededPx = 400
/**
 * Distance above and below the visible part of the list that one drawing adds to the DOM. It spares
 * a drawing at every scroll step.
 */
const drawnPx = 1_000
/** Rows farther than this from the visible part of the list are removed from the DOM. */
const keptPx = 2_400

export interface RowName {
  readonly key: string
  readonly seq: number | undefined
}

export interface Place {
  readonly isAtEnd: boolean
  /** Row being read. Undefined until the list has drawn a row. */
  readonly row: RowName | undefined
  /** Distance of the top of the row being read from the top of the window. */
  readonly topPx: number
  /**
   * Height of the row being read. Needed when a new width wraps the text differently: if the row
   * begins above the visible part, the same share of it stays hidden.
   */
  readonly heightPx: number
}

export interface ShownRows {
  readonly first: number
  readonly last: number
  /** Distance of the top of the first visible row from the top of the list's visible part. */
  readonly firstTopPx: number
  readonly scrolledPx: number
}

const startPlace: Place = { isAtEnd: true, row: undefined, topPx: 0, heightPx: 0 }

/**
 * Result of `restore`: whether the list shows the stored place, or what the component must do
 * first.
 */
export type Restored =
  | { readonly state: 'right' }
  /**
   * Rows are missing in the DOM: the component must draw this range and call `restore` again.
   * `isUrgent`: the missing rows leave a visible gap.
   */
  | { readonly state: 'draw'; readonly range: RowRange; readonly isUrgent: boolean }
  /** The row being read is no longer in the list. */
  | { readonly state: 'lost'; readonly place: Place }

export class ListScroller {
  readonly heights = new RowHeights()
  #scroller: HTMLElement | undefined
  #list: HTMLElement | undefined
  #rows: readonly RowName[] = []
  #indexes = new Map<string, number>()
  #range: RowRange = { from: 0, to: 0 }
  #place = startPlace
  #hasNewer = false
  /**
   * Scroll offset that this class set or saw last. Any other offset means that the user has
   * scrolled.
   */
  #expectedTopPx = 0
  #widthPx = 0
  #isReflowed = false
  /**
   * Heights of the content and of its visible part when the list was last scrolled to its end.
   * While both heights stay the same, a user who scrolls up by a few pixels is not scrolled back to
   * the end.
   */
  #endedAt = { contentPx: -1, framePx: -1 }
  #roomBeforePx = 0
  #roomAfterPx = 0

  get place(): Place {
    return this.#place
  }

  get isAtEnd(): boolean {
    return this.#place.isAtEnd
  }

  attach(scroller: HTMLElement, list: HTMLElement): () => void {
    this.#scroller = scroller
    this.#list = list
    this.#expectedTopPx = scroller.scrollTop
    return () => {
      this.#scroller = undefined
      this.#list = undefined
    }
  }

  /**
   * Takes over the rows of the list and the range of rows that are now in the DOM. Must run before
   * this class reads the layout.
   */
  setRows(rows: readonly RowName[], keys: readonly string[], range: RowRange, hasNewer: boolean): void {
    if (rows !== this.#rows) this.#indexes = new Map(keys.map((key, index) => [key, index]))
    this.#rows = rows
    this.#range = range
    this.#hasNewer = hasNewer
    this.heights.setKeys(keys)
  }

  /** Sets the stored place to the end of the list. The list scrolls there at the next `restore`. */
  wantEnd(): void {
    this.#place = { ...this.#place, isAtEnd: true }
    this.#endedAt = { contentPx: -1, framePx: -1 }
  }

  /**
   * Sets the stored place to a row, `offsetPx` below the top of the list's visible part. The list
   * scrolls there at the next `restore`.
   */
  wantRow(row: RowName, offsetPx: number): void {
    const top = this.#scroller?.getBoundingClientRect().top ?? 0
    this.#place = { isAtEnd: false, row, topPx: top + offsetPx, heightPx: 0 }
  }

  get frameTopPx(): number {
    return this.#scroller?.getBoundingClientRect().top ?? 0
  }

  get viewportPx(): number {
    return this.#scroller?.clientHeight ?? 0
  }

  /** Handles a scroll event. If the user has scrolled, stores the new place and returns true. */
  takeScroll(): boolean {
    const scroller = this.#scroller
    if (scroller === undefined || Math.abs(scroller.scrollTop - this.#expectedTopPx) < 1) return false
    const wasAtEnd = this.#place.isAtEnd
    const isUp = scroller.scrollTop < this.#expectedTopPx
    this.#expectedTopPx = scroller.scrollTop
    this.takePlace()
    // If the list was at its end and has scrolled down, it still counts as at its end: new messages
    // can arrive faster than the list scrolls to them.
    if (wasAtEnd && !isUp && !this.#hasNewer) this.#place = { ...this.#place, isAtEnd: true }
    return true
  }

  /**
   * Stores the place that the user sees now: the first row whose top is in the upper half of the
   * list's visible part. If no row begins there, stores the row that covers this half.
   */
  takePlace(): void {
    const scroller = this.#scroller
    const list = this.#list
    if (scroller === undefined || list === undefined || list.children.length === 0) return
    const frame = scroller.getBoundingClientRect()
    const index = firstChildWhere(list, (rect) => rect.top >= frame.top - 1)
    const last = list.children.length - 1
    const isBegun = index <= last && (childRect(list, index)?.top ?? 0) < frame.top + frame.height / 2
    const shown = isBegun ? index : Math.max(0, index - 1)
    const rect = childRect(list, shown)
    const row = this.#rows[this.#range.from + shown]
    if (rect === undefined || row === undefined) return
    this.#place = { isAtEnd: this.#isEndShown(), row, topPx: rect.top, heightPx: rect.height }
  }

  /**
   * Corrects the scroll offset so that the list shows the stored place again. Reads the layout only
   * after all changes to the DOM, because each change in between would cost another layout.
   */
  restore(): Restored {
    const scroller = this.#scroller
    const list = this.#list
    if (scroller === undefined || list === undefined || this.#rows.length === 0) return { state: 'right' }
    // Set the padding above and below the drawn rows first. Otherwise the rows would be measured at
    // wrong offsets, and the browser would limit the scroll offset to a list that is too short.
    this.#setRoom(list)
    this.#takeUnseenScroll(scroller)
    this.#takeWidth(scroller)
    this.#measureNew(list)
    const { isAtEnd, row } = this.#place
    if (isAtEnd || row === undefined) {
      if (this.#range.to < this.#rows.length) {
        const to = this.heights.totalPx
        const range = this.heights.rangeOf(to - this.viewportPx - drawnPx, to)
        return { state: 'draw', range, isUrgent: true }
      }
      const { scrollHeight: contentPx, clientHeight: framePx } = scroller
      if (contentPx !== this.#endedAt.contentPx || framePx !== this.#endedAt.framePx) scroller.scrollTop = contentPx
      this.#endedAt = { contentPx, framePx }
    } else {
      const index = this.#indexes.get(row.key)
      if (index === undefined) return { state: 'lost', place: this.#place }
      const rect = childRect(list, index - this.#range.from)
      if (rect === undefined) return { state: 'draw', range: this.#rangeAround(index), isUrgent: true }
      const byPx = rect.top - this.#topWanted(rect, scroller)
      if (Math.abs(byPx) >= 0.5) scroller.scrollTop += byPx
    }
    this.#expectedTopPx = scroller.scrollTop
    return this.#toDraw() ?? this.#settle()
  }

  /**
   * Returns the first and the last visible row. The first row must end more than `gutterPx` below
   * the top edge of the visible part. The last row may end at most `slackPx` below its bottom edge.
   */
  shown(gutterPx: number, slackPx: number): ShownRows | undefined {
    const scroller = this.#scroller
    const list = this.#list
    if (scroller === undefined || list === undefined || list.children.length === 0) return undefined
    const frame = scroller.getBoundingClientRect()
    const first = firstChildWhere(list, (rect) => rect.bottom > frame.top + gutterPx)
    const last = firstChildWhere(list, (rect) => rect.bottom > frame.bottom + slackPx) - 1
    const firstTopPx = (childRect(list, first)?.top ?? frame.top) - frame.top
    return {
      first: this.#range.from + first,
      last: this.#range.from + last,
      firstTopPx,
      scrolledPx: scroller.scrollTop,
    }
  }

  childAt(index: number): HTMLElement | undefined {
    const child = this.#list?.children[index - this.#range.from]
    return child instanceof HTMLElement ? child : undefined
  }

  /**
   * Scrolls a row that is in the DOM into view by the shortest distance, and stores the new place
   * as if the user had scrolled.
   */
  reveal(index: number): void {
    const scroller = this.#scroller
    const rect = this.childAt(index)?.getBoundingClientRect()
    if (scroller === undefined || rect === undefined) return
    const frame = scroller.getBoundingClientRect()
    if (rect.top < frame.top) scroller.scrollTop += rect.top - frame.top
    else if (rect.bottom > frame.bottom)
      scroller.scrollTop += Math.min(rect.bottom - frame.bottom, rect.top - frame.top)
    this.#expectedTopPx = scroller.scrollTop
    this.takePlace()
  }

  /** Stores the new height of a row. Called when the `ResizeObserver` reports a change. */
  takeSize(element: Element, heightPx: number): void {
    const key = element instanceof HTMLElement ? element.dataset['key'] : undefined
    const index = key === undefined ? undefined : this.#indexes.get(key)
    if (index !== undefined) this.heights.setHeight(index, heightPx)
  }

  /**
   * Deletes all measured row heights when the width of the list has changed, because lines wrap
   * differently then.
   */
  #takeWidth(scroller: HTMLElement): void {
    const widthPx = scroller.clientWidth
    const before = this.#widthPx
    this.#isReflowed = before !== 0 && widthPx !== before
    this.#widthPx = widthPx
    if (this.#isReflowed) this.heights.clear()
  }

  #topWanted(rect: DOMRect, scroller: HTMLElement): number {
    const { topPx, heightPx } = this.#place
    const frameTopPx = scroller.getBoundingClientRect().top
    if (!this.#isReflowed || topPx >= frameTopPx || heightPx === 0) return topPx
    const wantedPx = frameTopPx - ((frameTopPx - topPx) * rect.height) / heightPx
    this.#place = { ...this.#place, topPx: wantedPx, heightPx: rect.height }
    return wantedPx
  }

  /**
   * Returns the range of rows to draw if rows near the visible part are not in the DOM, or if too
   * many rows are in the DOM. Otherwise returns undefined.
   */
  #toDraw(): Restored | undefined {
    const scroller = this.#scroller
    const list = this.#list
    if (scroller === undefined || list === undefined) return undefined
    const { from, to } = this.#range
    const frame = scroller.getBoundingClientRect()
    const rect = list.getBoundingClientRect()
    // Compute the visible part from the drawn rows. Their position on the screen is exact; the
    // estimated heights of other rows are not.
    const drawnTopPx = rect.top + this.#roomBeforePx
    const drawnBottomPx = rect.bottom - this.#roomAfterPx
    const isShort =
      (from > 0 && drawnTopPx > frame.top - neededPx) ||
      (to < this.#rows.length && drawnBottomPx < frame.bottom + neededPx)
    const isLong = frame.top - drawnTopPx > keptPx || drawnBottomPx - frame.bottom > keptPx
    if (!isShort && !isLong) return undefined
    const viewTopPx = this.heights.topOf(from) + frame.top - drawnTopPx
    const range = this.heights.rangeOf(viewTopPx - drawnPx, viewTopPx + frame.height + drawnPx)
    if (range.from === from && range.to === to) return undefined
    const isAway = drawnTopPx > frame.bottom || drawnBottomPx < frame.top
    if (isAway && !this.#place.isAtEnd) {
      // The user dragged the scroll bar so far that no drawn row is visible: store the row that
      // belongs at this scroll offset.
      const index = this.heights.indexAt(viewTopPx)
      const row = this.#rows[index]
      const topPx = frame.top + this.heights.topOf(index) - viewTopPx
      if (row !== undefined) this.#place = { isAtEnd: false, row, topPx, heightPx: 0 }
    } else if (this.#place.row !== undefined && !this.#place.isAtEnd) {
      // If the new range does not contain the row being read, store the place that the user sees
      // now.
      const index = this.#indexes.get(this.#place.row.key)
      if (index !== undefined && (index < range.from || index >= range.to)) this.takePlace()
    }
    return { state: 'draw', range, isUrgent: drawnTopPx > frame.top || drawnBottomPx < frame.bottom }
  }

  #setRoom(list: HTMLElement): void {
    this.#roomBeforePx = this.heights.topOf(this.#range.from)
    this.#roomAfterPx = this.heights.totalPx - this.heights.topOf(this.#range.to)
    list.style.paddingTop = `${this.#roomBeforePx}px`
    list.style.paddingBottom = `${this.#roomAfterPx}px`
  }

  /**
   * Measures all rows that are new in the DOM at once, so that the browser computes the layout only
   * once.
   */
  #measureNew(list: HTMLElement): void {
    for (let index = this.#range.from; index < this.#range.to; index += 1) {
      if (this.heights.isMeasured(index)) continue
      const rect = childRect(list, index - this.#range.from)
      if (rect !== undefined) this.heights.setHeight(index, rect.height)
    }
  }

  /**
   * The user may have scrolled, and the scroll event arrives only after this drawing: corrects the
   * stored place for it. If the browser reduced the offset because the list became shorter, this
   * does not count as scrolling.
   */
  #takeUnseenScroll(scroller: HTMLElement): void {
    const byPx = scroller.scrollTop - this.#expectedTopPx
    if (Math.abs(byPx) < 1) return
    const isCutOff = byPx < 0 && scroller.scrollTop >= scroller.scrollHeight - scroller.clientHeight - 1
    if (isCutOff) {
      this.#endedAt = { contentPx: -1, framePx: -1 }
      return
    }
    this.#expectedTopPx = scroller.scrollTop
    const { isAtEnd, topPx } = this.#place
    this.#place = { ...this.#place, isAtEnd: isAtEnd && byPx > -atEndPx, topPx: topPx - byPx }
  }

  /**
   * Updates the stored place after the layout is final. A list that shows its last row counts as at
   * its end.
   */
  #settle(): Restored {
    if (this.#place.isAtEnd) {
      this.takePlace()
      if (!this.#hasNewer) this.#place = { ...this.#place, isAtEnd: true }
    } else if (this.#isEndShown()) this.#place = { ...this.#place, isAtEnd: true }
    return { state: 'right' }
  }

  #isEndShown(): boolean {
    const scroller = this.#scroller
    if (scroller === undefined || this.#hasNewer || this.#range.to < this.#rows.length) return false
    return scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight <= atEndPx
  }

  #rangeAround(index: number): RowRange {
    const top = this.heights.topOf(index)
    return this.heights.rangeOf(top - this.viewportPx - drawnPx, top + this.viewportPx + drawnPx)
  }
}

function childRect(list: HTMLElement, index: number): DOMRect | undefined {
  return list.children[index]?.getBoundingClientRect()
}

/**
 * Returns the index of the first child for which `isAfter` is true, by binary search. This works
 * because the rows are ordered from top to bottom.
 */
function firstChildWhere(list: HTMLElement, isAfter: (rect: DOMRect) => boolean): number {
  let low = 0
  let high = list.children.length
  while (low < high) {
    const middle = (low + high) >>> 1
    const rect = childRect(list, middle)
    if (rect !== undefined && !isAfter(rect)) low = middle + 1
    else high = middle
  }
  return low
}
