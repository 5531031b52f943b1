// Applies the stored theme before the first paint, so that the page does not flash.
// A separate file, because the content security policy refuses inline scripts.
try {
  const theme = localStorage.getItem('chorus.theme')
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme
} catch {
  // Access to storage may be forbidden: use the system's theme.
}
