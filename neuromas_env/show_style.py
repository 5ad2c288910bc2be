"""The look of the page that `neuromas show` makes: one style sheet, light and dark, wide and narrow."""

CSS = """
:root { color-scheme: light dark;
  --ground: #f6f5f2; --card: #ffffff; --ink: #1d2129; --soft: #646b78; --line: #dddad3; --edge: #a9adb8;
  --accent: #4a56c9; --wash: #eceefb; --right: #1b7a4b; --right-wash: #e3f3ea; --wrong: #b3372f;
  --wrong-wash: #fae8e6;
  --unread: #8a6100; --unread-wash: #f8efd8; --shadow: 0 1px 2px #1d212914, 0 4px 16px #1d21290a; }
@media (prefers-color-scheme: dark) { :root {
  --ground: #14161b; --card: #1d2027; --ink: #e7e9ee; --soft: #9aa1af; --line: #31353f; --edge: #616878;
  --accent: #9aa5ff; --wash: #272b45; --right: #6fd3a0; --right-wash: #17332a; --wrong: #ff958c;
  --wrong-wash: #3b2024;
  --unread: #e8bf62; --unread-wash: #372d17; --shadow: none; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, sans-serif; }
main { max-width: 76rem; margin: 0 auto; padding: 2rem 1.25rem 5rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0; letter-spacing: -.01em; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.75rem 0 .9rem; }
p { margin: .4rem 0; }
.soft { color: var(--soft); }
.sub { color: var(--soft); margin: .35rem 0 0; }
code, .text { font-family: ui-monospace, "SF Mono", "Cascadia Mono", "DejaVu Sans Mono", monospace;
  font-size: .92em; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: plaintext; overflow: auto;
  max-height: 15em; margin: 0; }
.panel { background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: 1.1rem 1.25rem;
  box-shadow: var(--shadow); }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .75rem;
  margin: 1.4rem 0; }
.facts div { background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: .7rem 1rem;
  box-shadow: var(--shadow); }
.facts b { display: block; font-size: 1.35rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.facts span { color: var(--soft); font-size: .85rem; }
.two { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1.35fr); gap: 1rem; align-items: stretch;
  }
.one { grid-template-columns: minmax(0, 1fr); }
.panel h3 { font-size: .95rem; margin: 0 0 .6rem; }
svg { display: block; max-width: 100%; }
svg text { font-family: inherit; fill: var(--ink); }
.graph { margin: auto; height: auto; }
.drawing { display: flex; flex-direction: column; }
.graph path { fill: none; stroke: var(--edge); stroke-width: 1.6; }
.graph circle { fill: var(--wash); stroke: var(--accent); stroke-width: 2; }
.graph .out { fill: var(--accent); }
.graph .out + text { fill: var(--card); }
.graph text { font-size: 12px; font-weight: 600; text-anchor: middle; }
.graph .name { font-weight: 400; font-size: 11px; fill: var(--soft);
  paint-order: stroke; stroke: var(--card); stroke-width: 4; }
.graph .hushed { stroke-dasharray: 4 4; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: var(--soft); font-size: .8rem; }
th, td { padding: .35rem .6rem .35rem 0; }
tr + tr td { border-top: 1px solid var(--line); }
.num { text-align: right; width: 8.5rem; }
.wide { overflow-x: auto; }
.chart { width: 100%; height: auto; overflow: visible; }
.chart text { font-size: 12px; fill: var(--soft); }
.chart .grid { stroke: var(--line); }
.chart polyline { fill: none; stroke-linejoin: round; }
.chart .reward { stroke: var(--edge); stroke-width: 1.5; }
.chart .validation { stroke: var(--accent); stroke-width: 2.5; }
.chart circle { fill: var(--accent); }
.chart .key-reward { fill: var(--soft); }
.chart tspan { fill: inherit; }
.chart .key-validation { fill: var(--accent); font-weight: 600; }
.filter { position: absolute; opacity: 0; pointer-events: none; }
.filters { display: flex; flex-wrap: wrap; gap: .5rem; }
.filters label { border: 1px solid var(--line); border-radius: 99px; padding: .2rem .85rem; font-size: .88rem;
  cursor: pointer;
  background: var(--card); }
.episode { background: var(--card); border: 1px solid var(--line); border-radius: 14px; margin-top: .6rem;
  box-shadow: var(--shadow); }
summary { cursor: pointer; }
.episode > summary { display: flex; align-items: center; gap: .75rem; padding: .7rem 1.1rem; list-style: none; }
.episode > summary::-webkit-details-marker { display: none; }
.episode > summary::before { content: "›"; color: var(--soft); font-size: 1.3rem; line-height: 1; width: .7rem;
  transition: transform .15s; }
.episode[open] > summary::before { transform: rotate(90deg); }
.episode > summary .text { flex: 1; min-width: 0; white-space: nowrap; overflow: hidden;
  text-overflow: ellipsis; }
.said { flex: none; max-width: 30%; text-align: end; color: var(--soft);
  white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.badge { flex: none; border-radius: 99px; padding: .05rem .65rem; font-size: .8rem; font-weight: 600; }
.correct .badge.outcome { color: var(--right); background: var(--right-wash); }
.wrong .badge.outcome { color: var(--wrong); background: var(--wrong-wash); }
.unparsed .badge.outcome { color: var(--unread); background: var(--unread-wash); }
.badge.note { color: var(--unread); background: var(--unread-wash); font-weight: 500; }
.inside { padding: .2rem 1.1rem 1.2rem; }
.question { border-left: 3px solid var(--accent); padding: .1rem 0 .1rem .9rem; margin: .2rem 0 1.1rem; }
.label { font-size: .78rem; color: var(--soft); margin: 0 0 .15rem; }
.flow { display: flex; align-items: stretch; overflow-x: auto; padding-bottom: .3rem; }
.step { flex: 1 1 0; min-width: 9rem; display: grid; grid-auto-rows: 1fr; }
.cell { display: flex; flex-direction: column; justify-content: center; padding: .3rem 0; min-width: 0; }
.node { border: 1px solid var(--line); border-radius: 10px; padding: .5rem .7rem .55rem;
  background: var(--ground); min-width: 0; }
.node:hover { border-color: var(--accent); }
.node.out { border: 2px solid var(--accent); }
.node header { display: flex; flex-wrap: wrap; gap: .1rem .5rem; align-items: baseline; font-size: .8rem;
  color: var(--soft);
  margin-bottom: .2rem; }
.node header b { color: var(--ink); }
.node footer { font-size: .76rem; color: var(--soft); margin-top: .25rem; }
.silent { color: var(--soft); font-style: italic; }
.hushed .text { text-decoration: line-through; opacity: .65; }
.links { flex: 0 0 2.6rem; width: 2.6rem; align-self: stretch; height: auto; }
.links line { stroke: var(--edge); stroke-width: 1.5; vector-effect: non-scaling-stroke; }
.links .quiet { stroke-dasharray: 3 4; opacity: .7; }
.verdict { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .3rem 1.5rem;
  margin-top: 1.1rem;
  border-top: 1px solid var(--line); padding-top: .8rem; }
.part > summary { font-weight: 600; padding: .5rem 0; margin-top: 1.2rem; }
footer.page { color: var(--soft); font-size: .85rem; margin-top: 3rem; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
@media (max-width: 46rem) {
  main { padding: 1.25rem .8rem 3rem; }
  h1 { font-size: 1.4rem; }
  .two { grid-template-columns: minmax(0, 1fr); }
  .facts { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: .5rem; }
  .episode > summary { padding: .65rem .8rem; gap: .5rem; }
  .said { display: none; }
  .num { width: auto; }
  .chart text { font-size: 18px; }
  .facts div:last-child:nth-child(odd) { grid-column: 1 / -1; }
  .inside { padding: .1rem .8rem 1rem; }
  .flow { flex-direction: column; }
  .step { min-width: 0; grid-auto-rows: auto; }
  .links { display: none; }
  .step + .links + .step::before { content: "↓"; text-align: center; color: var(--edge); line-height: 1.6; }
}
@media print { .episode { break-inside: avoid; box-shadow: none; } }
"""
