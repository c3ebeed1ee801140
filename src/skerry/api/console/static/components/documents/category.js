/** The filter by category; it stands in the page's address. */

import { html, useEffect, useState } from "../../vendor/htm-preact.js";
import { api } from "../../api.js";
import { changeQuery } from "../../lib/route.js";
import { useTyped } from "../../lib/typing.js";

const LOOKED_AT = 200;

/** The categories of the documents that were stored last. */
export function useCategories() {
  const [categories, setCategories] = useState([]);
  useEffect(() => {
    const abort = new AbortController();
    api.documents({ limit: LOOKED_AT }, abort.signal)
      .then(({ data }) => setCategories([...new Set(data.documents.map(({ category }) => category).filter(Boolean))].sort()))
      .catch(() => {
        // Only suggestions; what the view asks for itself says what is wrong.
      });
    return () => abort.abort();
  }, []);
  return categories;
}

export function CategoryFilter({ value = "" }) {
  const categories = useCategories();
  const [text, onInput] = useTyped(value, (category) => changeQuery({ category }, { replace: true }));
  return html`<label class="field category">
    <span class="field-name">Category</span>
    <input type="text" value=${text} placeholder="all" list="categories" autocapitalize="none" autocomplete="off" onInput=${onInput} />
    <datalist id="categories">${categories.map((category) => html`<option key=${category} value=${category} />`)}</datalist>
  </label>`;
}
