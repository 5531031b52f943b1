// Applies the stored theme before the first paint, so that the page does not flash. This is a
// separate file, because the content security policy refuses inline scripts.
try {
  const theme = localStorage.getItem('chorus.theme')
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme
} catch {
  // The browser may forbid access to its storage. The theme of the system applies then.
}
