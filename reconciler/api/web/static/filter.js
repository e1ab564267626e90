// Filters the matrix while one types; the form does the same without it.
const form = document.getElementById("filter");
const field = form?.elements.q;
const only = form?.elements.only;
const shown = document.getElementById("shown");

export function filter() {
  if (!form) return;
  const rows = document.querySelectorAll("#fleet tbody tr");
  const wanted = field.value.trim().toLowerCase();
  let count = 0;
  for (const row of rows) {
    const fits = row.dataset.service.toLowerCase().includes(wanted);
    const hidden = !fits || (only.checked && !row.querySelector("td:not(.ok, .none)"));
    if (row.hidden !== hidden) row.hidden = hidden;
    if (!hidden) count += 1;
  }
  shown.textContent = `${count} of ${rows.length}`;
}

if (form && field.value === "" && !only.checked) { // else the server has left some out already
  form.querySelector("button").hidden = true;
  form.addEventListener("submit", (event) => event.preventDefault());
  field.addEventListener("input", filter);
  only.addEventListener("change", filter);
}

document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (document.activeElement?.matches("input, select, textarea")) return;
  const search = document.querySelector("input[type=search]");
  if (!search) return;
  event.preventDefault();
  search.focus();
});
