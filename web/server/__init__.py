"""Between the server (granian, ASGI) and Flask (WSGI): requests are read whole on the event loop, under deadlines, and
handed to a thread when nothing of them is missing. A client that is slow, or sends nothing, holds no thread.
"""
