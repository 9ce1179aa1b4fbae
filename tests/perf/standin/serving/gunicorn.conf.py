import os

wsgi_app = "serving.app:app"
bind = f"{os.environ['HOST']}:{os.environ['PORT']}"
workers = int(os.environ["WEB_CONCURRENCY"])
worker_class = "gthread"
threads = 4
control_socket_disable = True
errorlog = "-"
