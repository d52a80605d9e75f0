"""The page itself, in Gradio; what it shows is made by :mod:`~weakshot_seg.demo.view`."""

import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from weakshot_seg.demo.view import View, message, open_image, starred
from weakshot_seg.errors import ConfigError, DataError
from weakshot_seg.prediction.segmenter import Segmenter

KEPT = 3600  # seconds for which uploads, and what was predicted for a visitor, are kept
HINT = "Drop an image, or take one of the examples."


def build_page(
    segmenter: Segmenter, title: str, examples: Sequence[Path], proposals: int, max_megapixels: float
) -> gr.Blocks:
    """The page of a ``segmenter``; ``proposals``: how many of the best to show, of one pass over the image."""
    names, novel = segmenter.split.names, segmenter.split.novel
    about = f"{len(names)} classes, {len(novel)} of them novel ★: learned from tags, without masks"
    with gr.Blocks(title=title, analytics_enabled=False, delete_cache=(KEPT, KEPT)) as page:
        view = gr.State(None, time_to_live=KEPT)
        gr.Markdown(f"# {title}", elem_id="title")
        with gr.Accordion(about, open=False, elem_id="about"):
            gr.HTML(escape(", ".join(starred(name, i in novel) for i, name in enumerate(names))))
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                upload = gr.Image(
                    label="Image", sources=["upload", "clipboard"], height=260, elem_id="upload", buttons=[]
                )
                note = gr.HTML(message(HINT), elem_id="note")
                if examples:
                    gr.Examples([str(path) for path in examples], upload, label="Validation images", elem_id="examples")
            with gr.Column(scale=5, min_width=320):
                picture = gr.Image(
                    label="Segmentation", elem_id="picture", format="png", buttons=["download", "fullscreen"]
                )
                opacity = gr.Slider(0, 1, 0.65, step=0.05, label="Opacity of the colours", elem_id="opacity")
                shown = gr.CheckboxGroup([], label="Classes shown", elem_id="shown", visible=False)
                table = gr.HTML(elem_id="table")
        best = gr.Gallery(
            label="Best proposals", height="auto", buttons=["fullscreen"], elem_id="proposals", visible=False
        )

        def show(file: dict[str, str] | None, alpha: float) -> list[object]:
            nothing = [None, gr.CheckboxGroup(visible=False), "", gr.Gallery(visible=False)]
            if file is None:
                return [None, message(HINT), *nothing]
            try:
                image, size = open_image(Path(file["path"]), max_megapixels)
            except DataError as error:
                return [None, message(str(error), alert=True), *nothing]
            found = View.of(segmenter.predict(image), proposals)
            ids = [class_id for _, class_id in found.choices()]
            classes = gr.CheckboxGroup(found.choices(), value=ids, visible=True)
            gallery = gr.Gallery(found.proposals, visible=True)
            return [found, message(size), found.draw(ids, alpha), classes, found.table(), gallery]

        def redraw(found: View | None, ids: list[int], alpha: float) -> object:
            return gr.skip() if found is None else found.draw(ids, alpha)

        made = [view, note, picture, shown, table, best]
        # gradio's own reading (preprocess) fails on broken files without saying why
        upload.change(show, [upload, opacity], made, preprocess=False, show_progress_on=picture)
        triggers, inputs = [shown.input, opacity.input], [view, shown, opacity]
        # while the slider moves only its latest place is drawn
        gr.on(triggers, redraw, inputs, picture, show_progress="hidden", trigger_mode="always_last")
    return page


def serve(page: gr.Blocks, host: str, port: int | None, share: bool) -> str:
    """Opens the page at an address of this machine, and returns that; another thread serves it.

    ``port=None`` takes the first free one from 7860; a port that is taken is a ConfigError.
    """
    os.environ["GRADIO_RUN_HISTORY"] = "False"  # else the browser keeps every image; older versions know no argument
    text, code = ("system-ui", "sans-serif"), ("monospace",)  # fonts that are there: gradio's own come from Google
    hues = {"primary_hue": "slate", "neutral_hue": "slate"}
    theme = gr.themes.Default(**hues, radius_size="sm", font=text, font_mono=code)
    options: dict[str, Any] = {"theme": theme, "css_paths": Path(__file__).parent / "templates" / "style.css"}
    options |= {"quiet": True, "footer_links": [], "ssr_mode": False, "max_file_size": "200mb"}
    options |= {"server_name": host, "server_port": port, "share": share}
    try:
        _, address, _ = page.launch(prevent_thread_lock=True, **options)
    except OSError as error:
        raise ConfigError(f"port={port} at host={host} cannot be used, it may be taken: port=null finds one") from error
    print(f"page: {address}{f', for everybody: {page.share_url}' if share else ''}  (Ctrl-C ends it)", flush=True)
    return address
