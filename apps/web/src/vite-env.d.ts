/// <reference types="vite/client" />
/** Path under which the build serves the emoji catalogue (see `vite/emoji-data.ts`). */
declare const __EMOJI_BASE__: string
